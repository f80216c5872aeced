"""HTML that we write: text made safe and visible, elements that escape what they hold, and whole documents.

Here is what all of our pages share. What a page says is decided where its facts are (`evaluate/`, `cli/`).
"""
