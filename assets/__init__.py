"""The graph as Dagster sees it: one module per kind of node, each of them thin.

An asset resolves what is asked for into a `Request`, returns the sealed artefact if there is one, else
has it made (in the step's own process, or by a job process), and hands a handle on. Nothing here
computes; nothing heavy is imported when a code location loads. How processes are started and where
state lives is `orchestration`'s, and reaches assets as resources.
"""
