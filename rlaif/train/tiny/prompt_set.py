"""`prompts/sets/tiny-world.jsonl`: prompts of the world for the policy, none of which it was trained on."""

import json
from pathlib import Path

from rlaif.tiny.world import Prompt, draw_prompt, seeded

NUM_PROMPTS = 200


def set_prompts(count: int = NUM_PROMPTS, seed: int = 3) -> list[Prompt]:
    """Distinct held-out prompts."""
    rng = seeded("prompt set", seed)
    found: dict[tuple[str, ...], Prompt] = {}
    while len(found) < count:
        prompt = draw_prompt(rng, held_out=True)
        found.setdefault(prompt.turns, prompt)
    return list(found.values())


def prompt_rows(count: int = NUM_PROMPTS, seed: int = 3) -> list[dict[str, object]]:
    """The same as rows of a prompt set."""
    rows: list[dict[str, object]] = []
    for number, prompt in enumerate(set_prompts(count, seed), 1):
        tags = [prompt.kind] if len(prompt.turns) == 1 else [prompt.kind, "multi-turn"]
        row = {"id": f"tiny-world-{number:03}", "messages": prompt.messages, "tags": tags}
        rows.append({**row, "source": "rlaif/tiny-world"})
    return rows


def write_prompt_set(path: Path) -> None:
    lines = [json.dumps(row, ensure_ascii=False) for row in prompt_rows()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
