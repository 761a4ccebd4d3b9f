"""A model and its words.

`load` reads weights and tokenizers of a checkpoint folder, and refuses what is not whole. `template` is the only place
that turns messages into tokens (`tool_rendering` their calls, `bulk_encoding` many rows at once), `tokens` counts
them. `answering` is what one may ask of a checkpoint that answers: `local` does so in this process (`likelihood`
scores continuations), `served` asks an OpenAI-compatible server (`endpoint`), which `serving` starts where it is to be
ours; `answered` keeps answers for the next attempt.
"""
