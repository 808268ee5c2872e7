"""Servers that want the password, or to be taken for one that knows it (security.md, section 2)."""

from __future__ import annotations

from pgproto import ConfigError, PostgresError
from pgproto.wire import (
    AuthenticationCleartextPassword,
    AuthenticationGSS,
    AuthenticationGSSContinue,
    AuthenticationKerberosV5,
    AuthenticationMD5Password,
    AuthenticationSASL,
    AuthenticationSASLContinue,
    AuthenticationSASLFinal,
    AuthenticationSSPI,
    BackendKeyData,
    ReadyForQuery,
)
from tests.hostile.case import START, Case, after_startup, named
from tests.hostile.scram import (
    LET_IN,
    SCRAM,
    SIGNATURE,
    asked,
    challenged,
    distorted,
    echoed,
    proven,
    ten_megabytes,
    verified,
    with_iterations,
    with_nonce,
    with_salt,
)
from tests.support.scripted import fatal

FIRST = f"{START} AuthenticationResponse"  # the client-first-message: nothing in it is worth having
PROOF = f"{FIRST} AuthenticationResponse"  # and the proof, which every server that asks gets
THEFT = "P rogue server asks cleartext/MD5"
EARLY = "P AuthenticationOk before SASLFinal"
NONCE = "P nonce"
COUNT = "CVE-2026-42198, CVE-2026-6669, P iterations"
LENGTHS = "CVE-2026-6665"
ENUMERATION = "P message legality"
BINDING = "CVE-2025-49146"
REQUIRE = "P require_auth"

CLEARTEXT, MD5 = AuthenticationCleartextPassword(), AuthenticationMD5Password(b"salt")
CONTINUE = AuthenticationSASLContinue(b"r=x,s=eA==,i=4096")
NAMES = AuthenticationSASL(["SCRAM-SHA-1", "scram-sha-256", "SCRAM-SHA-256 ", "\x1b[31mSCRAM"])

OTHERS = [
    Case("cleartext", THEFT, after_startup(CLEARTEXT), "over an unencrypted connection", tcp=True),
    Case("md5", THEFT, after_startup(MD5), "over an unencrypted connection", tcp=True),
    Case("kerberos", THEFT, after_startup(AuthenticationKerberosV5()), "Kerberos 5 .*not sup", tcp=True),
    Case("gss", THEFT, after_startup(AuthenticationGSS()), "GSSAPI .*not supported", tcp=True),
    Case("sspi", THEFT, after_startup(AuthenticationSSPI()), "SSPI .*not supported", tcp=True),
    Case("gss continue", THEFT, after_startup(AuthenticationGSSContinue(b"x")), "unexpected"),
    Case("unknown method", THEFT, after_startup(b"R\0\0\0\x08\0\0\0\x63"), "malformed Auth.*99", tcp=True),
    Case("negative method", THEFT, after_startup(b"R\0\0\0\x08\xff\xff\xff\xff"), "malformed Authentication"),
    Case("method without salt", THEFT, after_startup(b"R\0\0\0\x08\0\0\0\x05"), "malformed Authentication"),
    Case("salt too long", THEFT, after_startup(b"R\0\0\0\x0d\0\0\0\x05salty"), "malformed Authentication"),
    Case("ok with a tail", THEFT, after_startup(b"R\0\0\0\x09\0\0\0\0x"), "malformed Authentication"),
    Case("no mechanism", THEFT, after_startup(AuthenticationSASL([])), "offers nothing", tcp=True),
    Case("mechanisms without end", THEFT, after_startup(b"R\0\0\0\x0c\0\0\0\x0aPLAI"), "malformed Auth"),
    Case("other mechanisms", THEFT, after_startup(NAMES), "none of the server's SASL", tcp=True),
    Case("plain", THEFT, after_startup(AuthenticationSASL(["PLAIN", "LOGIN"])), "offers PLAIN, LOGIN"),
    Case("oauth", THEFT, after_startup(AuthenticationSASL(["OAUTHBEARER"])), "none of the server's SASL"),
    Case("a thousand mechanisms", THEFT, after_startup(AuthenticationSASL(["X" * 6] * 1000)), "offers X"),
    Case("a long mechanism", THEFT, after_startup(AuthenticationSASL(["X" * 8000])), "offers X{40}[^X]"),
    Case(
        "plus without tls", "P PLUS stripped by MITM",
        after_startup(AuthenticationSASL(["SCRAM-SHA-256-PLUS"])), "over a non-SSL connection", tcp=True,
    ),
    Case(
        "plus and plain without tls", "P PLUS stripped by MITM",
        after_startup(AuthenticationSASL(["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"])), "over a non-SSL",
    ),
    Case(
        "no password", "CVE-2017-7546", after_startup(CLEARTEXT), "no password supplied", ConfigError,
        options={"password": "", "local": True},
    ),
    Case(
        "no password for scram", "CVE-2017-7546", after_startup(SCRAM), "no password supplied", ConfigError,
        options={"password": ""},
    ),
    Case("refused", REQUIRE, after_startup(fatal("28P01", "no")), "FATAL 28P01: no", PostgresError),
]  # fmt: skip

POLICY = [
    Case(
        f"{name} with {require}", REQUIRE, after_startup(*said), f'requirement "{require}" failed',
        options={"require_auth": require, "local": True},
    )
    for require in ("scram-sha-256", "!none,!password,!md5")
    for name, said in {
        "trust": LET_IN, "cleartext": (CLEARTEXT,), "md5": (MD5,),
    }.items()
] + [
    Case(
        f"{name} with binding required", BINDING, after_startup(*said), "channel binding required",
        options={"channel_binding": "require", "local": True},
    )
    for name, said in {"trust": LET_IN, "cleartext": (CLEARTEXT,), "md5": (MD5,), "scram": (SCRAM,)}.items()
]  # fmt: skip

ORDER = [
    Case("ok without continue", EARLY, asked(*LET_IN), "unexpected", heard=FIRST, tcp=True),
    Case("ok without final", EARLY, proven(*LET_IN), "before the server|unexpected", heard=PROOF, tcp=True),
    Case("ready without ok", EARLY, after_startup(ReadyForQuery("I")), "unexpected Ready", tcp=True),
    Case("key without ok", EARLY, after_startup(BackendKeyData(1, b"1234")), "unexpected Backend", tcp=True),
    Case("ready without continue", EARLY, asked(LET_IN[-1]), "unexpected", heard=FIRST),
    Case("ready without final", EARLY, proven(ReadyForQuery("I")), "unexpected Ready", heard=PROOF),
    Case("ready behind final", EARLY, verified(ReadyForQuery("I")), "unexpected Ready", heard=PROOF),
    Case("key behind final", EARLY, verified(LET_IN[-2]), "unexpected Backend", heard=PROOF),
    Case("two finals", EARLY, verified(AuthenticationSASLFinal(SIGNATURE)), "unexpected Auth", heard=PROOF),
    Case("continue behind final", EARLY, verified(CONTINUE), "unexpected Auth", heard=PROOF),
    Case("scram behind final", EARLY, verified(SCRAM), "unexpected Auth", heard=PROOF),
    Case("cleartext behind final", EARLY, verified(CLEARTEXT), "unexpected Auth", heard=PROOF),
    Case("md5 behind final", EARLY, verified(MD5), "unexpected Auth", heard=PROOF),
    Case("cleartext behind sasl", EARLY, asked(CLEARTEXT), "unexpected Auth", heard=FIRST),
    Case("md5 behind sasl", EARLY, asked(MD5), "unexpected Auth", heard=FIRST),
    Case("sasl twice", EARLY, asked(SCRAM), "unexpected Auth", heard=FIRST),
    Case("cleartext after scram", EARLY, proven(CLEARTEXT), "unexpected", heard=PROOF, tcp=True),
    Case("scram again", EARLY, proven(SCRAM), "unexpected", heard=PROOF, tcp=True),
    Case("continue again", EARLY, proven(CONTINUE), "unexpected", heard=PROOF, tcp=True),
    Case(
        "final without sasl", EARLY, after_startup(AuthenticationSASLFinal(b"v=x")), "unexpected", tcp=True
    ),
    Case("continue without sasl", EARLY, after_startup(CONTINUE), "unexpected", tcp=True),
    Case(
        "final without continue", EARLY, asked(AuthenticationSASLFinal(SIGNATURE), *LET_IN),
        "unexpected", heard=FIRST,
    ),
]  # fmt: skip

FINALS = [
    Case(name, EARLY, proven(AuthenticationSASLFinal(final), *LET_IN), text, heard=PROOF, tcp=tcp)
    for name, final, text, tcp in [
        ("wrong signature", SIGNATURE, "incorrect server signature", True),
        ("no signature", b"", "attribute v expected", True),
        ("error in final", b"e=other-error", "with the error other-error", True),
        ("error that is drawn", b"e=\x1b[2J", "invalid error value", False),
        ("error without end", b"e=" + b"x" * 5000, "invalid error value", False),
        ("error and signature", b"e=x," + SIGNATURE, "garbage", False),
        ("short signature", b"v=AAAA", "invalid signature", False),
        ("long signature", b"v=" + b"A" * 4000, "invalid signature", False),
        ("signature that is none", b"v=" + b"*" * 44, "invalid signature", False),
        ("empty signature", b"v=", "invalid signature", False),
        ("signature in capitals", b"V=" + SIGNATURE[2:], "attribute v expected", False),
    ]
] + [
    Case("echo of the proof", EARLY, echoed, "incorrect server signature", heard=PROOF),
    Case(
        "garbage behind the signature", LENGTHS, distorted(lambda final: final + b",x=1"), "garbage",
        heard=PROOF,
    ),
    Case("NUL behind the signature", LENGTHS, distorted(lambda f: f + b"\0"), "invalid sig", heard=PROOF),
    Case("newline behind it", LENGTHS, distorted(lambda f: f + b"\n"), "invalid sig", heard=PROOF),
    Case("signature without padding", LENGTHS, distorted(lambda f: f[:-1]), "invalid sig", heard=PROOF),
]  # fmt: skip

COUNTS = [
    Case(f"iterations {name}", COUNT, with_iterations(count), text, heard=FIRST, tcp=tcp)
    for name, count, text, tcp in [
        ("0", "0", "invalid iteration count", True),
        ("-1", "-1", "invalid iteration count", True),
        ("empty", "", "invalid iteration count", False),
        ("1e9", "1e9", "invalid iteration count", True),
        ("1_000", "1_000", "invalid iteration count", False),
        ("0x1000", "0x1000", "invalid iteration count", False),
        ("+4096", "+4096", "invalid iteration count", False),
        ("with a blank", " 4096", "invalid iteration count", False),
        ("with a zero in front", "04096", "invalid iteration count", False),
        ("with a NUL", "4096\0", "invalid iteration count", False),
        ("of another script", "\u0664\u0660", "invalid iteration count", False),
        ("cap + 1", "1000001", "more SCRAM iterations", False),
        ("2^31 - 1", "2147483647", "more SCRAM iterations", True),
        ("2^31", "2147483648", "more SCRAM iterations", False),
        ("2^63", "9223372036854775808", "more SCRAM iterations", False),
        ("of 1500 digits", "9" * 1500, "more SCRAM iterations", True),
        ("of 8000 digits", "9" * 8000, "more SCRAM iterations", False),
    ]
] + [Case("iterations of 10 MB", COUNT, ten_megabytes, "allowed are 4 to 8192", heard=FIRST)]

NONCES = [
    Case(f"nonce {name}", NONCE, with_nonce(nonce), text, heard=FIRST, tcp=tcp)
    for name, nonce, text, tcp in [
        ("is ours", "{}", "added nothing", True),
        ("is another", "another{}", "does not start", True),
        ("is of equal length", "X" * 20, "does not start", False),
        ("is empty", "", "does not start", True),
        ("is ours in capitals", "0123456789ABCDEF0123server", "does not start", False),
        ("with a comma", "{},x", "garbage", False),
        ("with a NUL", "{}\0x", "invalid nonce", False),
        ("with a blank", "{} x", "invalid nonce", False),
        ("with DEL", "{}\x7f", "invalid nonce", False),
        ("with umlauts", "{}\u00e4", "invalid nonce", False),
        ("with ANSI escapes", "{}\x1b[31m", "invalid nonce", False),
        ("that is no UTF-8", "{}\udcff", "invalid nonce", False),
        ("of 2000 characters", "{}" + "x" * 2000, "invalid nonce", False),
        ("of 8000 characters", "{}" + "x" * 8000, "invalid nonce", False),
    ]
]

SALTS = [
    Case(f"salt {name}", LENGTHS, with_salt(salt), "salt|garbage", heard=FIRST, tcp=tcp)
    for name, salt, tcp in [
        ("is empty", "", True),
        ("is no base64", "*", True),
        ("is padding", "====", False),
        ("without padding", "c2FsdA", False),
        ("with a blank", "c2Fs dA==", False),
        ("with a newline", "c2FsdA==\n", False),
        ("with a tail in its padding", "c2FsdB==", False),
        ("of the URL alphabet", "-_-_", False),
        ("of 6000 characters", "QUJD" * 1500, False),
    ]
]

CHALLENGES = [
    Case(f"challenge {name}", LENGTHS, challenged(template), "malformed SCRAM", heard=FIRST)
    for name, template in [
        ("is empty", ""),
        ("is noise", "\0\1\2\3"),
        ("in another order", "s=c2FsdA==,r={}server,i=4096"),
        ("with two nonces", "r={}server,r={}server,s=c2FsdA==,i=4096"),
        ("with an extension", "m=ext,r={}server,s=c2FsdA==,i=4096"),
        ("with an extension behind", "r={}server,s=c2FsdA==,i=4096,x=1"),
        ("with a comma behind", "r={}server,s=c2FsdA==,i=4096,"),
        ("without a count", "r={}server,s=c2FsdA=="),
        ("without a salt", "r={}server,i=4096"),
        ("of commas", "," * 8000),
        ("in capitals", "R={}server,S=c2FsdA==,I=4096"),
    ]
]

AUTHENTICATION = named([*OTHERS, *POLICY, *ORDER, *FINALS, *COUNTS, *NONCES, *SALTS, *CHALLENGES])
