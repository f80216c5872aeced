"""The page on which people compare two answers without knowing whose they are or what a judge said.

    app = label_app({token: sitting}, constitution=None, kept=folder.write_labels)
    serve(app, listen(8360))

A vote is a plain form, so the page works without JavaScript; with it there are keys and the time is measured.
docs/labelling.md shows it; what is asked and where votes go is decided in `rlaif/labels/blind`.
"""

from rlaif.pages.label.app import label_app
from rlaif.pages.label.server import listen, serve, token_for

__all__ = ["label_app", "listen", "serve", "token_for"]
