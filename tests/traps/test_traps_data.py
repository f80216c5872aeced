"""Traps between a row of a dataset and its tokens."""

import json
from dataclasses import replace

import numpy as np
import pytest
import transformers
from tokenizers.processors import TemplateProcessing

from rlaif.errors import DataError
from rlaif.train import examples, tokenise
from rlaif.train.cells import SAME
from rlaif.train.examples import DataCard, DataEntry, Limits
from rlaif.train.packing import TokenSequence
from rlaif.train.reward import RewardTask
from rlaif.train.task import Layout, RowsTask, trimmed
from rlaif.train.tokenise import NO_ANSWER_LEFT, Tokenised, Tokeniser
from tests.tiny_llama import write_tiny_llama
from tests.traps.planted import planted, trap
from tests.unit.test_train_rows import merging_tokenizer


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    """Its template writes <s> itself and white space after </s>; it adds a <s> of its own to plain texts."""
    folder = write_tiny_llama(tmp_path_factory.mktemp("llama"), weights=False)
    found = transformers.AutoTokenizer.from_pretrained(folder)
    special = [(name, found.convert_tokens_to_ids(name)) for name in ("<s>",)]
    found.backend_tokenizer.post_processor = TemplateProcessing(single="<s> $A", special_tokens=special)
    return found


def turn(role, text):
    return {"role": role, "content": text}


def read(tmp_path, tokenizer, rows, **limits):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    chosen = Limits(**{"max_length": 512, **limits})
    return examples.read_preferences([DataEntry(path=str(path), name="a")], Tokeniser(tokenizer), chosen)


# --- 1, 2: where the answer begins, and what stands at the ends


def sliced_by_length(ids, ends, boundary, alone):
    return len(alone), False


@trap(1, planted("rlaif.train.tokenise._beginning", sliced_by_length))
def test_a_prompt_tokenised_alone_need_not_begin_the_whole():
    """ ":" and "a" merge: the answer "ab" begins inside the prompt's last token, and that token is scored."""
    found = Tokeniser(merging_tokenizer()).tokenise("b:", ["ab"])
    assert found.family[0].scored.tolist() == [False, True, True, True]  # b, :a, b, <eos>
    assert found.is_merged


IDS, TEXT = Tokeniser._ids, Tokeniser._text


def always_with_specials(self, text, *, add_special_tokens):
    return IDS(self, text, add_special_tokens=True)


def with_one_more_end(self, prompt, answer):
    one, is_merged = TEXT(self, prompt, answer)
    ids = np.append(one.ids, self._tokenizer.eos_token_id)
    return TokenSequence(ids, np.append(one.scored, True)), is_merged


@trap(
    2,
    planted("rlaif.train.tokenise.Tokeniser._ids", always_with_specials),
    planted("rlaif.train.tokenise.Tokeniser._text", with_one_more_end),
)
def test_a_sequence_begins_with_one_beginning_and_ends_with_one_end(tokenizer):
    begin, end = tokenizer.bos_token_id, tokenizer.eos_token_id
    tokeniser = Tokeniser(tokenizer)
    (talk,) = tokeniser.tokenise((turn("user", "Which answer?"),), [(turn("assistant", "A"),)]).family
    assert talk.ids.tolist().count(begin) == 1
    assert talk.ids[0] == begin
    for answer in (" kind.", " kind.</s>"):  # one that nobody ended, and one that ends already
        (text,) = tokeniser.tokenise("The answer is", [answer]).family
        assert text.ids.tolist().count(begin) == text.ids.tolist().count(end) == 1
        assert (text.ids[0], text.ids[-1]) == (begin, end)
    (bare,) = Tokeniser(without_beginning(tokenizer)).tokenise("The answer is", [" kind."]).family
    assert begin not in bare.ids  # no beginning-of-sequence token is no token, not token None
    assert bare.ids.dtype == np.int64


def without_beginning(tokenizer):
    import copy

    bare = copy.deepcopy(tokenizer)
    bare.backend_tokenizer.post_processor = TemplateProcessing(single="$A", special_tokens=[])
    bare.bos_token = None
    return bare


# --- 3, 4, 5: cutting


FIT = tokenise.fit


def looking_finished(row, max_length, too_long):
    """A cut answer's last token is overwritten by the end of sequence."""
    found = FIT(row, max_length, too_long)
    if not isinstance(found, Tokenised) or not found.is_cut:
        return found
    return replace(found, family=tuple(replace(one, ids=np.append(one.ids[:-1], 2)) for one in found.family))


def unchecked(row, max_length, too_long):
    """Cut, whatever is left."""
    cut = tuple(TokenSequence(one.ids[:max_length], one.scored[:max_length]) for one in row.family)
    return Tokenised(cut, row.is_merged, is_cut=True)


ROW = {"prompt": "The answer is", "chosen": " better because it is honest and kind", "rejected": " A"}
ALIKE = {"prompt": "Answer", "chosen": " it is honest and kind.", "rejected": " it is honest and better."}


@trap(3, planted("rlaif.train.examples.fit", looking_finished))
def test_an_answer_that_was_cut_does_not_look_finished(tokenizer, tmp_path):
    (whole,), _ = read(tmp_path, tokenizer, [ROW])
    (cut,), card = read(tmp_path, tokenizer, [ROW], max_length=len(whole.family[0]) - 2, too_long="cut_answer")
    assert card.sources["a"].cut == 1
    assert cut.family[0].ids[-1] != tokenizer.eos_token_id
    assert np.array_equal(cut.family[0].ids, whole.family[0].ids[:-2])


@trap(
    4,
    planted("rlaif.train.examples.fit", unchecked),
    planted("rlaif.train.examples.DataCard.check", lambda self, *, allow_uneven=False: None),
)
def test_nothing_is_cut_to_an_empty_answer_and_what_is_lost_is_counted_by_source(tokenizer, tmp_path):
    (whole,), _ = read(tmp_path, tokenizer, [ROW])
    prompt = int(whole.family[0].scored.argmax())
    rows, card = read(tmp_path, tokenizer, [ROW, ROW], max_length=prompt, too_long="cut_answer")
    assert rows == []
    assert dict(card.sources["a"].refused) == {NO_ANSWER_LEFT: 2}
    uneven = examples.SourceCounts(read=100, kept=92)
    uneven.refused["too long"] = 8  # 7.58 % of UltraFeedback is longer than 512 tokens, of other data less
    even = examples.SourceCounts(read=100, kept=100)
    with pytest.raises(DataError, match=r"lost 8\.0% of its rows"):
        DataCard(sources={"ai": uneven, "human": even}, digest="", num_tokens=0, num_rows=192).check()


@trap(5, planted("rlaif.train.examples.fit", unchecked))
def test_answers_that_are_equal_once_cut_are_no_pair(tokenizer, tmp_path):
    (whole,), _ = read(tmp_path, tokenizer, [ALIKE])
    first, second = (one.ids for one in whole.family)
    shared = int(np.flatnonzero(first[: len(second)] != second[: len(first)])[0])
    assert shared > whole.family[0].scored.argmax()
    rows, card = read(tmp_path, tokenizer, [ALIKE], max_length=shared, too_long="cut_answer")
    assert rows == []
    assert dict(card.sources["a"].refused) == {SAME: 1}


# --- 8 (second half): a reward model reads what users will let it score


INIT = RowsTask.__init__


@trap(8, planted("rlaif.train.task.RowsTask.__init__", lambda self, rows, layout: INIT(self, trimmed(rows), layout)))
def test_a_reward_is_learnt_at_the_very_token_where_a_rendered_conversation_ends(tokenizer, tmp_path):
    answers = {name: [turn("assistant", text)] for name, text in (("chosen", "kind"), ("rejected", "better"))}
    rows, _ = read(tmp_path, tokenizer, [{"prompt": [turn("user", "Which?")], **answers}])
    task = RewardTask(rows, Layout())
    rendered = tokenizer.apply_chat_template([turn("user", "Which?"), *answers["chosen"]])["input_ids"]
    assert task.rows[0].family[0].ids.tolist() == rendered
    assert rendered[-1] != tokenizer.eos_token_id  # the template writes white space after it


# --- 21 (first half): prompts are not learnt from


TOKENISE = Tokeniser.tokenise


def rejected_prompt_scored(self, prompt, answers):
    found = TOKENISE(self, prompt, answers)
    first, second = found.family
    return replace(found, family=(first, TokenSequence(second.ids, np.arange(len(second)) > 0)))


@trap(21, planted("rlaif.train.tokenise.Tokeniser.tokenise", rejected_prompt_scored))
def test_the_prompt_is_scored_in_neither_answer(tokenizer, tmp_path):
    (row,), _ = read(tmp_path, tokenizer, [ROW])
    scored = [tokenizer.decode(one.ids[one.scored]) for one in row.family]
    assert scored == [ROW["chosen"] + "</s>", ROW["rejected"] + "</s>"]
