"""How good is a checkpoint, and is it better than another?

`suite` says what a frozen suite is and names its identity; `runner` is the job that scores one
checkpoint; `ifeval`, `mmlu`, `benchmarks` (what else lm-eval packages), `functions`, `code`, `perplexity`, `verifier`,
`refusal` and `phrases` are its tasks, on top of `generation` (batched greedy decoding, answer log-probabilities),
`harness` (lm-eval on pinned local rows) and `sandbox` (programs that a model wrote); `report` is what comes out.
`statistics`, `gate`, `page` and `promotion` compare reports and act on the verdict. Modules that a code location
imports load no torch, transformers, datasets or lm-eval.
"""
