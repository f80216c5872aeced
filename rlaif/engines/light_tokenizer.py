"""A tokenizer read from `tokenizer.json` alone, without transformers or torch: enough for all but the model itself."""

from functools import cached_property
from pathlib import Path

from tokenizers import Tokenizer


class LightTokenizer:
    """The part of a transformers tokenizer that is used here: spellings, counts, the markers of its chat format."""

    def __init__(self, file: Path) -> None:
        self.backend_tokenizer = Tokenizer.from_file(str(file))
        self.backend_tokenizer.no_truncation()  # a file may ask for it: what is too long must be seen to be, not cut
        self.backend_tokenizer.no_padding()

    def __len__(self) -> int:
        return int(self.backend_tokenizer.get_vocab_size(with_added_tokens=True))

    @cached_property
    def all_special_ids(self) -> list[int]:
        added = self.backend_tokenizer.get_added_tokens_decoder()
        return [token for token, description in added.items() if description.special]

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        return list(self.backend_tokenizer.encode(text, add_special_tokens=add_special_tokens).ids)

    def decode(self, ids: list[int], *, skip_special_tokens: bool = False) -> str:
        return str(self.backend_tokenizer.decode(ids, skip_special_tokens=skip_special_tokens))
