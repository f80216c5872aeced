"""The tokenizer both tiny models share: byte-level BPE over the world's text, so any text can be written in it.

The tags and fixed sentences of the judge's templates are single tokens that swallow the blank lines around them. That
makes a judge prompt half as long as plain BPE would, and its pieces (prefix, principle, question) fall apart at exact
token borders: packing can encode them one by one and glue the ids without changing the tokenisation.

The judge reads two templates more, for the modes that reason and score. Their tags and sentences are tokens that its
own copy of the tokenizer has behind the shared ones, whose ids stay what they are.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from rlaif.bundled import project_file
from rlaif.tiny.critiques import Critique, winner_of, write_critique
from rlaif.tiny.properties import BY_NAME, NAMES
from rlaif.tiny.wordings import GENERIC_QUESTION, write_wording
from rlaif.tiny.world import draw_prompt, fill, seeded, write_answer

VOCABULARY = 2560
BOS, END, PAD, SYSTEM, USER, ASSISTANT = "<|bos|>", "<|end|>", "<|pad|>", "<|system|>", "<|user|>", "<|assistant|>"
TAGS = tuple(
    f"<{slash}{name}>" for name in ("conversation", "response_a", "response_b", "principle") for slash in ("", "/")
)
JUDGE_VOCABULARY = 2576  # the shared tokens, those of `write_judge_tokenizer`, and a few that stay unused
MODE_TAGS = tuple(f"<{slash}{name}>" for name in ("response", "scale") for slash in ("", "/"))
TEN = "10"  # the highest score; as a token of its own it is read at one place, as the other scores are
CHAT_TEMPLATE = (
    "<|bos|>{% for message in messages %}<|{{ message['role'] }}|>\n{{ message['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)


def fixed_sentences(templates: Sequence[str] = ("judge", "critique")) -> list[str]:
    """The sentences that these templates always say, outside tags; of one around a variable what stands before it."""
    found: dict[str, None] = {}
    for name in templates:
        for line in template_body(name).splitlines():
            if line.startswith("<"):
                continue
            for piece in re.split(r"\{\{ \w+ \}\}", line):
                said = [sentence.strip() for sentence in re.findall(r"[^.?]+[.?]?", piece)]
                found.update(dict.fromkeys(one for one in said if len(one.split()) > 2))
    return list(found)


def mode_sentences() -> list[str]:
    """Those of the templates that reason and score, as far as the shared tokenizer does not have them."""
    return [one for one in fixed_sentences(("reason", "score")) if one not in fixed_sentences()]


def template_body(name: str) -> str:
    """A template's text after its front matter."""
    whole = project_file(f"prompts/templates/{name}.txt").read_text(encoding="utf-8")
    return whole.split("---\n", 2)[2].strip()


def corpus(num_texts: int = 30_000, seed: int = 1) -> Iterator[str]:
    """Training-side text of every kind the models read or write."""
    rng = seeded("tokenizer", seed)
    for _ in range(num_texts):
        prompt = draw_prompt(rng, held_out=False)
        yield prompt.conversation
        yield write_answer(prompt, rng).text
        wording = write_wording(rng)
        yield f"{wording.text}\n{wording.question}"
        a_has, b_has = rng.random() < 0.5, rng.random() < 0.5
        yield write_critique(Critique(rng.choice(NAMES), a_has, b_has, winner_of(a_has, b_has, 1)), rng)
    for name in ("judge", "critique"):
        yield from [template_body(name)] * 20
    for one in BY_NAME.values():  # held-out sentences too: their words must be tokens, their use is what is new
        yield from (fill(text, rng, t="the river") for text in one.sentences * 50)
    yield from [GENERIC_QUESTION] * 100


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Train the BPE and dress it with the special tokens, the tags and the chat template."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    bpe.decoder = decoders.ByteLevel()
    specials = [PAD, BOS, END, SYSTEM, USER, ASSISTANT]
    num_added = len(specials) + len(TAGS) + len(fixed_sentences())
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - num_added,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(corpus(), trainer)
    bpe.add_special_tokens([AddedToken(text, special=True, rstrip=text != PAD) for text in specials])
    bpe.add_tokens([AddedToken(text, lstrip=True, rstrip=True, normalized=False) for text in TAGS])
    bpe.add_tokens([AddedToken(text, lstrip=True, normalized=False) for text in fixed_sentences()])
    tokenizer = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # transformers leaves it untyped
        tokenizer_object=bpe,
        bos_token=BOS,
        eos_token=END,
        pad_token=PAD,
        model_max_length=2048,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def write_tokenizer(folder: Path) -> None:
    """Make the tokenizer and write its files."""
    folder.mkdir(parents=True, exist_ok=True)
    make_tokenizer().save_pretrained(folder)


def write_judge_tokenizer(shared: Path, folder: Path) -> None:
    """The shared tokenizer with the judge's own tokens behind it. `10` is one only where it stands by itself."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(shared)
    tokenizer.add_tokens([AddedToken(text, lstrip=True, rstrip=True, normalized=False) for text in MODE_TAGS])
    tokenizer.add_tokens([AddedToken(text, lstrip=True, normalized=False) for text in mode_sentences()])
    tokenizer.add_tokens([AddedToken(TEN, single_word=True, normalized=False)])
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(folder)
