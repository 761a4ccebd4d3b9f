"""Text in: from a pinned place on disk, in a package index or on a hub to rows that a trainer can read.

`sources` fetches files, `reading` turns what is in them into rows of one schema, `cleaning` seals what is left of
a source, `mixing` puts several clean corpora into exact shares in training order, `pairs` makes preference pairs.
`rendering` is the only place that turns messages into tokens.

What identifies and keeps an artefact is `lineage`'s; nothing here knows Dagster.
"""
