"""How good is a checkpoint, and is it better than another?

`suite` says what a frozen suite is and names its identity; `runner` is the job that scores one checkpoint by the
`tasks` that a suite asks and the `judges` that it lets grade, through whatever answers for it (`models`); `report` is
what comes out. `statistics` and `gating` compare reports, `pages` show them to people, and `registry` acts on the
verdict. Modules that a code location imports load no torch, transformers, datasets or lm-eval.
"""
