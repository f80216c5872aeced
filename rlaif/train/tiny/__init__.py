"""How the bundled tiny models are made: tokenizer, policy, judge, export, measurement.

`python -m rlaif.train.tiny --help`. Checkpoints go to `outputs/tiny/`, finished models to `rlaif/tiny/models/`.
"""
