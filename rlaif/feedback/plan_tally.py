"""One stage of a plan while its blocks are counted: what is wanted, what is missing and why, and what that costs."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

from rlaif.engines.counting import PromptCounter
from rlaif.feedback.ask import Asking
from rlaif.feedback.cost import Output, Prices, Rates, TokenCount, bill
from rlaif.feedback.plan_record import Group, Missing, StageName, Step
from rlaif.feedback.reasons import NEVER_RUN, NOT_YET


class StageTally:
    """Blocks are added, then the step is made. Nothing of a block is kept but numbers."""

    def __init__(
        self,
        stage: StageName,
        model: str,
        counter: Callable[[], PromptCounter],
        *,
        num_blocks: int,
        rates: Rates,
        prices: Prices,
    ) -> None:
        self._stage, self._model = stage, model
        self._rates, self._prices = rates, prices
        self._counter, self._num_blocks = counter, num_blocks
        self._tokens: TokenCount | None = None
        self._name = ""
        self._wanted = self._found = 0
        self._calls: Counter[str] = Counter()
        self._estimated: Counter[str] = Counter()
        self._prompts: Counter[str] = Counter()

    def add(self, asking: Asking, found: int, missing: Sequence[Missing]) -> None:
        """A block's requests, how many of them have an answer (be it outdated), and those that have none."""
        self._name = asking.name
        self._wanted += len(asking.requests)
        self._found += found
        prompts: defaultdict[str, set[str]] = defaultdict(set)
        for one in missing:
            self._calls[one.why] += 1
            self._estimated[one.why] += one.is_estimated
            prompts[one.why].add(one.prompt_id)
        self._prompts.update({why: len(own) for why, own in prompts.items()})  # no prompt is in two blocks
        if missing:
            self._tokens = self._tokens or TokenCount(self._counter(), self._num_blocks)
            self._tokens.add(asking.requests, [one.key for one in missing])

    @property
    def has_estimates(self) -> bool:
        return bool(self._estimated.total())

    def step(self, expected: Output, *, is_estimated: bool) -> Step:
        """`expected`: the tokens of an answer."""
        calls = self._calls.total()
        cost = bill(
            self._stage,
            self._model,
            calls,
            tokens=(self._tokens.prompt, self._tokens.shared) if self._tokens else (0, 0),
            expected=expected,
            rate=self._rates.by_stage.get(self._name),
            prices=self._prices,
        )
        return Step(
            stage=self._stage,
            wanted=self._wanted,
            is_estimated=is_estimated,
            groups=tuple(self._group(why) for why in self._calls),
            bill=cost,
        )

    def _group(self, why: str) -> Group:
        calls = self._calls[why]
        reason = NOT_YET if why == NEVER_RUN and self._found else why
        reason = reason.replace("{prompts}", f"{self._prompts[why]:,}").replace("{calls}", f"{calls:,}")
        return Group(
            stage=self._stage,
            model=self._model,
            reason=reason,
            calls=calls,
            estimated_calls=self._estimated[why],
        )
