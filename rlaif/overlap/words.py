"""A text as words: what is left without case, punctuation, white space and ways of encoding the same letter."""

import re
import unicodedata

# Scripts written without spaces: each character is a word, or a whole sentence would be one.
_UNSPACED = r"぀-ヿ㐀-䶿一-鿿豈-﫿฀-๿"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W_{_UNSPACED}]+")


def words_of(text: str) -> list[str]:
    """The words of a text, in order. `It's  A` and `it's a` have the same ones: it, s, a."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def runs(words: list[str], length: int) -> list[str]:
    """All runs of `length` words, each as one text; the whole text where it is shorter."""
    if len(words) <= length:
        return [" ".join(words)] if words else []
    return [" ".join(words[start : start + length]) for start in range(len(words) - length + 1)]
