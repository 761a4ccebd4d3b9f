"""Text in: from a pinned place on disk, in a package index or on a hub to rows that a trainer can read.

`sources` fetches files, `reading` finds the rows in them, `formats` says what these mean in one schema, `cleaning`
seals what is left of a source (`words`, `duplicates`, `contamination`), `mixing` puts several clean corpora into exact
shares in training order, `feedback` makes preferences and prompts, `verifiers` check answers. `tables` are rows on
disk, `work` is how a step is divided. Messages become tokens in `models.template`.

What identifies and keeps an artefact is `lineage`'s; nothing here knows Dagster.
"""
