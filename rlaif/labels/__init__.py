"""Labels of people, judges and simulated annotators in one record: read from the formats people have, written to the
formats tools read, counted, and two sources of them put side by side by pair.

    imported = import_labels(Path("votes.csv"), Path("labels.jsonl"))   # rows in, labels and listed drops out
    votes = read_votes(Path("labels.jsonl"))                            # checked records, for the small and the exact
    table = label_table([Path("labels.jsonl")])                         # Arrow, for a million rows
    alignment = align(table, other)                                     # two sources, by pair id

A vote is never merged with another: what people gave stays as they gave it, and every figure is computed from it.
Statistics are not here but in `rlaif/numbers`. docs/labels.md has the formats and the record.
"""
