"""Requests like those a judge gets, made from the repository's own prompts, template and constitutions.

They are the same every time, on every machine. In `judging_requests` the answers are sentences of other prompts strung
together: a judge's verdict on them means nothing, but they have the length, the shared beginnings and the order of real
ones. In `tiny_world_requests` the tiny judge knows what it is asked.
"""

import itertools
import json
import random

from rlaif.bundled import project_file
from rlaif.constitution import Constitution, load_constitution
from rlaif.engines.base import Request, Sampling
from rlaif.identity import digest
from rlaif.records import Message, Prompt, Response, ResponsePair
from rlaif.templates import load_template
from rlaif.tiny.world import draw_prompt, seeded, write_answer

_SETS = ("everyday", "multi-turn", "unknowable", "borderline")


def judging_requests(
    *, num_prompts: int, num_answers: int, num_principles: int, max_words: int, min_words: int = 20, seed: int = 0
) -> list[Request]:
    """Every pair of `num_answers` answers to each of `num_prompts` conversations, in both orders, under the first
    `num_principles` principles of the default constitution; each answer of `min_words` to `max_words` words."""
    draw, template = random.Random(seed), load_template("judge")
    conversations, sentences = _texts()
    principles = load_constitution(project_file("constitution/default.yaml")).principles[:num_principles]
    made = []
    for conversation in draw.sample(conversations, num_prompts):
        answers = [_answer(draw, sentences, draw.randint(min_words, max_words)) for _ in range(num_answers)]
        for first, second in itertools.permutations(answers, 2):
            for principle in principles:
                text = template.render(
                    conversation=conversation,
                    response_a=first,
                    response_b=second,
                    principle=principle.text,
                    question=principle.question,
                )
                made.append(_request(text, template.choices))
    return made


def judged_pairs(*, num_prompts: int, num_answers: int, words: tuple[int, int], seed: int) -> list[ResponsePair]:
    """Every pair of `num_answers` answers to each of `num_prompts` shipped conversations, as a run has them."""
    draw, sentences = random.Random(seed), _texts()[1]
    made = []
    for messages in draw.sample(_conversations(), num_prompts):
        prompt = Prompt(messages=messages)
        answers = [_response(prompt, _answer(draw, sentences, draw.randint(*words))) for _ in range(num_answers)]
        for one, other in itertools.combinations(sorted(answers, key=lambda answer: answer.id), 2):
            made.append(ResponsePair(prompt, one, other))
    return made


def first_principles(number: int) -> Constitution:
    """The first principles of the default constitution."""
    whole = load_constitution(project_file("constitution/default.yaml"))
    return Constitution(name=f"first {number} of {whole.name}", principles=whole.enabled[:number])


def tiny_world_requests(*, num_prompts: int, num_answers: int, seed: int = 0) -> list[Request]:
    """The quickstart's kind: every pair of answers of the tiny world, both orders, under `constitution/small.yaml`."""
    template = load_template("judge")
    principles = load_constitution(project_file("constitution/small.yaml")).principles
    made = []
    for number in range(num_prompts):
        draw = seeded("judging-requests", seed, number)
        prompt = draw_prompt(draw, held_out=True)
        answers = [write_answer(prompt, draw).text for _ in range(num_answers)]
        for (first, second), principle in itertools.product(itertools.permutations(answers, 2), principles):
            text = template.render(
                conversation=prompt.conversation,
                response_a=first,
                response_b=second,
                principle=principle.text,
                question=principle.question,
            )
            made.append(_request(text, template.choices))
    return made


def _request(text: str, choices: tuple[str, ...]) -> Request:
    messages = (Message("user", text),)
    return Request(id=digest(text), messages=messages, sampling=Sampling(max_tokens=1), choices=choices)


def _response(prompt: Prompt, text: str) -> Response:
    return Response(
        prompt_id=prompt.id,
        text=text,
        policy="written",
        sample_index=0,
        finish_reason="stop",
        prompt_tokens=0,
        output_tokens=0,
    )


def _answer(draw: random.Random, sentences: list[str], num_words: int) -> str:
    words: list[str] = []
    while len(words) < num_words:
        words += draw.choice(sentences).split()
    return " ".join(words[:num_words])


def _texts() -> tuple[list[str], list[str]]:
    """The conversations of the shipped sets as a judge reads them, and all their sentences."""
    conversations, sentences = [], []
    for messages in _conversations():
        conversations.append("\n\n".join(f"{one.role}: {one.content}" for one in messages))
        sentences += [part.strip() + "." for one in messages for part in one.content.split(".") if part.strip()]
    return conversations, sentences


def _conversations() -> list[tuple[Message, ...]]:
    found = []
    for name in _SETS:
        for line in project_file(f"prompts/sets/{name}.jsonl").read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            messages = row.get("messages") or [{"role": "user", "content": row["prompt"]}]
            found.append(tuple(Message(one["role"], one["content"]) for one in messages))
    return found
