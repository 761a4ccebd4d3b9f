"""How good is a checkpoint, and is it better than another?

`suite` says what a frozen suite is and names its identity; `runner` is the job that scores one
checkpoint; `ifeval`, `mmlu`, `benchmarks` (what else lm-eval packages), `functions`, `code`, `perplexity`, `verifier`,
`refusal` and `phrases` are its tasks, on top of `generation` (batched greedy decoding, answer log-probabilities),
`harness` (lm-eval on pinned local rows) and `sandbox` (programs that a model wrote); `report` is what comes out.
`statistics`, `gate`, `page` and `promotion` compare reports and act on the verdict. Modules that a code location
imports load no torch, transformers, datasets or lm-eval.

`generation.LoadedModel` is a checkpoint as tasks see it, in this process or `served` by an OpenAI-compatible server
(`endpoint`), which `serving` starts where it is to be ours. `pairwise_judge` and `graded_judge` ask another model what
the answers are worth (`judge`, `judge_prompts`, `judge_items`); what that opinion is worth in turn, `judge_bias` and
`length_control` say.
"""
