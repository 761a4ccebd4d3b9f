"""The index of keys seen: the same answers as a set, in 16 bytes a key."""

import random

from corpora.cleaning.exact import KEY_BYTES, Seen


def test_it_tells_first_from_repeated_as_a_set_does() -> None:
    rng = random.Random(3)
    pool = [rng.randbytes(KEY_BYTES) for _ in range(3000)]
    pool += [bytes(KEY_BYTES), b"\0" * (KEY_BYTES - 1) + b"\1", b"\1" + b"\0" * (KEY_BYTES - 1), b"\xff" * KEY_BYTES]
    seen, known = Seen(), set[bytes]()
    for size in (0, 1, 7, 500, 2000, 1, 3000):
        keys = rng.choices(pool, k=size)
        expected = []
        for key in keys:
            expected.append(key not in known)
            known.add(key)
        assert seen.first(b"".join(keys)).tolist() == expected
    assert seen.nbytes == KEY_BYTES * len(known)
