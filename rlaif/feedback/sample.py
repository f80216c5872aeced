"""Sampling: every policy answers every prompt n times, each answer with a seed of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rlaif.engines.base import Completion, Failure, ModelIdentity, Request, Sampling
from rlaif.engines.thinking import cut_reason
from rlaif.feedback.ask import Asking, Requests, Session, Value, ask
from rlaif.feedback.keys import cut_key, sample_key
from rlaif.feedback.progress import Progress
from rlaif.identity import seed_from
from rlaif.records import Outcome, Prompt, Response
from rlaif.settings import PolicySettings
from rlaif.store import Store


@dataclass(frozen=True, slots=True)
class Sample:
    """One planned answer and how it ended. `response` is None where there is no usable text."""

    prompt: Prompt
    outcome: Outcome
    reason: str
    response: Response | None


@dataclass(frozen=True, slots=True)
class SampleStage:
    """One policy's requests. `places` says which prompt and index a key stands for."""

    policy: PolicySettings
    asking: Asking
    places: Mapping[str, tuple[Prompt, int]]

    def samples(self, values: Mapping[str, Value]) -> dict[str, Sample]:
        """The samples of the values there are, by key, in the order of the places."""
        return {
            key: _sample(prompt, index, values[key], self.policy.model)
            for key, (prompt, index) in self.places.items()
            if key in values
        }


def sample_stage(prompts: Sequence[Prompt], policy: PolicySettings, identity: ModelIdentity) -> SampleStage:
    """What this policy is asked. No model is needed to know it."""
    places = {
        sample_key(prompt, identity, policy.sampling, index): (prompt, index)
        for prompt in prompts
        for index in range(policy.samples)
    }
    asking = Asking(
        name=f"sample {policy.model}",
        kind="responses",
        requests=Requests(places, lambda key, place: _request(key, place[0], policy)),
        read=lambda answer: written_value(answer, policy.sampling.max_tokens),
        outcome=lambda value: value["outcome"],
        is_valid=lambda value: still_answers(value, policy.sampling.max_tokens),
        places=lambda key: (key, cut_key(key, policy.sampling.max_tokens)),
        place=lambda key, value: cut_key(key, value["max_tokens"]) if value["finish_reason"] == "length" else key,
    )
    return SampleStage(policy, asking, places)


def sample_responses(
    prompts: Sequence[Prompt], policy: PolicySettings, *, session: Session, store: Store, progress: Progress
) -> list[Sample]:
    """One Sample per prompt and index, in that order, however they came back."""
    stage = sample_stage(prompts, policy, session.model.identity)
    values = ask(stage.asking, session=session, store=store, progress=progress)
    return list(stage.samples(values).values())


def _request(key: str, prompt: Prompt, policy: PolicySettings) -> Request:
    drawn = policy.sampling
    sampling = Sampling(
        max_tokens=drawn.max_tokens,
        temperature=drawn.temperature,
        top_p=drawn.top_p,
        top_k=drawn.top_k,
        stop=drawn.stop,
        seed=seed_from(key),
    )
    return Request(id=key, messages=prompt.messages, sampling=sampling)


def written_value(answer: Completion | Failure, max_tokens: int) -> Value:
    """What is kept of a text that a model was asked to write, be it an answer, a critique of it or its revision."""
    if isinstance(answer, Failure):
        outcome: Outcome = "failed" if answer.kind == "failed" else "refused"
        return {"outcome": outcome, "reason": answer.reason}
    if cut := cut_reason(answer):
        outcome, reason = "truncated", cut
    elif not answer.text.strip():
        outcome, reason = "abstained", "empty answer"
    else:
        outcome, reason = "ok", ""
    return {
        "outcome": outcome,
        "reason": reason,
        "text": answer.text,
        **({"thinking": answer.thinking} if answer.thinking else {}),
        "finish_reason": answer.finish_reason,
        "prompt_tokens": answer.prompt_tokens,
        "output_tokens": answer.output_tokens,
        "max_tokens": max_tokens,
    }


def still_answers(value: Value, max_tokens: int) -> bool:
    """Whether a stored answer is what this limit would give: complete within it, or cut at exactly it."""
    if value["finish_reason"] == "length":
        return bool(value["max_tokens"] == max_tokens)
    return bool(value["output_tokens"] <= max_tokens)


def _sample(prompt: Prompt, index: int, value: Value, policy: str) -> Sample:
    response = None
    if value["outcome"] == "ok":
        response = Response(
            prompt_id=prompt.id,
            text=value["text"],
            policy=policy,
            sample_index=index,
            finish_reason=value["finish_reason"],
            prompt_tokens=value["prompt_tokens"],
            output_tokens=value["output_tokens"],
        )
    return Sample(prompt=prompt, outcome=value["outcome"], reason=value["reason"], response=response)
