"""Bytes that nobody would send: what fuzzers make, and what must hold whatever they make.

`targets.py` says what must hold, `mutate.py` makes inputs out of good and bad ones, `guided.py`
lets a coverage-guided fuzzer make them, `differential.py` compares with another parser,
`over_wire.py` sends them to a real daemon. `run.py` is the long form of all of it.
"""
