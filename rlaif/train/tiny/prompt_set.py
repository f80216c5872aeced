"""`prompts/sets/tiny-world.jsonl`: prompts of the world for the policy, none of which it was trained on."""

import json
from pathlib import Path

from rlaif.tiny.world import draw_prompt, seeded

NUM_PROMPTS = 200


def prompt_rows(count: int = NUM_PROMPTS, seed: int = 3) -> list[dict[str, object]]:
    """Distinct held-out prompts as rows of a prompt set."""
    rng = seeded("prompt set", seed)
    rows: dict[tuple[str, ...], dict[str, object]] = {}
    while len(rows) < count:
        prompt = draw_prompt(rng, held_out=True)
        tags = [prompt.kind] if len(prompt.turns) == 1 else [prompt.kind, "multi-turn"]
        row = {"id": f"tiny-world-{len(rows) + 1:03}", "messages": prompt.messages, "tags": tags}
        rows.setdefault(prompt.turns, {**row, "source": "rlaif/tiny-world"})
    return list(rows.values())


def write_prompt_set(path: Path) -> None:
    lines = [json.dumps(row, ensure_ascii=False) for row in prompt_rows()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
