"""Text in: from a pinned place on disk, in a package index or on a hub to rows that a trainer can read.

`sources` fetches files, `lines` reads their rows one by one, `formats` turns rows into one schema,
`clean` seals what is left of a source, `mixture` puts several clean corpora into exact shares in training
order, `preferences` makes pairs. `rendering` is the only place that turns messages into tokens.

What identifies and keeps an artefact is `lineage`'s; nothing here knows Dagster.
"""
