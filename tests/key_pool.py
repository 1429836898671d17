# SPDX-License-Identifier: Apache-2.0
"""Real keys in a hurry: a real one takes up to two seconds to find, and nobody may share one."""

from __future__ import annotations

import itertools

from cryptography.hazmat.primitives.asymmetric import rsa

from cloister.certificates import PrivateKey

_EXPONENT = 65537


def different_keys() -> tuple[PrivateKey, ...]:
    """Fifteen keys of 3072 bits, no two alike, from the primes of three.

    Who knows one prime of a key knows its others, which no test minds: two names under one key are what tests mind,
    because what is signed in another's name then holds.
    """
    found = [rsa.generate_private_key(_EXPONENT, 3072).private_numbers() for _ in range(3)]
    primes = [prime for numbers in found for prime in (numbers.p, numbers.q)]
    return tuple(PrivateKey(_key_of(p, q)) for p, q in itertools.combinations(primes, 2))


def _key_of(p: int, q: int) -> rsa.RSAPrivateKey:
    exponent = rsa.rsa_recover_private_exponent(_EXPONENT, p, q)
    dmp1, dmq1, iqmp = rsa.rsa_crt_dmp1(exponent, p), rsa.rsa_crt_dmq1(exponent, q), rsa.rsa_crt_iqmp(p, q)
    public = rsa.RSAPublicNumbers(_EXPONENT, p * q)
    return rsa.RSAPrivateNumbers(p, q, exponent, dmp1, dmq1, iqmp, public).private_key()
