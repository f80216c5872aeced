"""The bundled tiny models and the small written world they know.

`topics`, `properties` and `world` write prompts and answers, `wordings` writes principles and questions, `critiques`
writes and reads reasons. All of it is plain Python: what an answer has is known when it is written, so every figure
measured on these models has a ground truth. The training lies in `rlaif.train.tiny`; the weights in `models/`.
"""
