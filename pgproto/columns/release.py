"""The release callbacks of what is exported, and the destructor of its capsules.

Each struct owns a reference to a Python object, which owns its memory.  Releasing it means to give that
reference up.  Consumers do so at any time and in any thread: also in the middle of an exception, when Python
drops the operands of an expression that failed, as in `pa.table(batch).column("no such")`.  A callback of
ctypes cannot be used there.  CPython calls it with the exception set, so that its code fails, and clears the
exception, which ends the process.

So these functions are machine code, which calls nothing but Python's C API:

    release(struct)         take private_data; release = NULL; if Py_IsInitialized():
                            state = PyGILState_Ensure(); Py_DecRef(private_data); PyGILState_Release(state)
    destructor(capsule)     Py_DecRef(PyCapsule_GetContext(capsule))

What Py_DecRef calls in the end is a `__del__`, around which CPython keeps the exception.  The code is written
once, to a page that is then made executable and no longer writable, and is never freed.  Where there is no
such code (another processor or system), or the system forbids it, callbacks of ctypes do the same, with the
limit above.  tests/test_columns_machine_code.py runs the code for both processors in an emulator.
"""

from __future__ import annotations

import ctypes
import platform
import sys
from ctypes import c_int, c_size_t, c_ssize_t, c_void_p
from typing import Any, Final

from .structs import Array, Release, Schema, Stream, python_api

__all__ = ["Releases", "releases"]

# At these places of the code of `release` for x86-64 stand the offsets of private_data and release.
_X86_PRIVATE: Final = 10
_X86_RELEASE: Final = 14
_X86: Final = bytes.fromhex(
    "53"  # push rbx
    "4154"  # push r12
    "4883ec08"  # sub rsp, 8
    "488b5f00"  # mov rbx, [rdi + private_data]
    "48c7470000000000"  # mov qword [rdi + release], 0
    "ff1527000000"  # call [Py_IsInitialized]
    "85c0"  # test eax, eax
    "741b"  # je done
    "ff1525000000"  # call [PyGILState_Ensure]
    "4189c4"  # mov r12d, eax
    "4889df"  # mov rdi, rbx
    "ff1521000000"  # call [Py_DecRef]
    "4489e7"  # mov edi, r12d
    "ff1520000000"  # call [PyGILState_Release]
    "4883c408"  # done: add rsp, 8
    "415c"  # pop r12
    "5b"  # pop rbx
    "c3"  # ret
)
_X86_DESTRUCTOR: Final = bytes.fromhex(
    "53"  # push rbx, which aligns the stack
    "ff1511000000"  # call [PyCapsule_GetContext]
    "4889c7"  # mov rdi, rax
    "5b"  # pop rbx
    "ff250f000000"  # jmp [Py_DecRef]
    "90909090909090"
)
# The same for aarch64: these instructions have the offset, divided by eight, in their bits from 10 on.
_ARM_PRIVATE: Final = 8
_ARM_RELEASE: Final = 12
_ARM: Final = bytes.fromhex(
    "fd7bbea9"  # stp x29, x30, [sp, #-32]!
    "f35301a9"  # stp x19, x20, [sp, #16]
    "130040f9"  # ldr x19, [x0, #private_data]
    "1f0000f9"  # str xzr, [x0, #release]
    "09020058"  # ldr x9, Py_IsInitialized
    "20013fd6"  # blr x9
    "40010034"  # cbz w0, done
    "e9010058"  # ldr x9, PyGILState_Ensure
    "20013fd6"  # blr x9
    "f403002a"  # mov w20, w0
    "e00313aa"  # mov x0, x19
    "a9010058"  # ldr x9, Py_DecRef
    "20013fd6"  # blr x9
    "e003142a"  # mov w0, w20
    "89010058"  # ldr x9, PyGILState_Release
    "20013fd6"  # blr x9
    "f35341a9"  # done: ldp x19, x20, [sp, #16]
    "fd7bc2a8"  # ldp x29, x30, [sp], #32
    "c0035fd6"  # ret
    "1f2003d5"  # nop
)
_ARM_DESTRUCTOR: Final = bytes.fromhex(
    "fd7bbfa9"  # stp x29, x30, [sp, #-16]!
    "a9000058"  # ldr x9, PyCapsule_GetContext
    "20013fd6"  # blr x9
    "fd7bc1a8"  # ldp x29, x30, [sp], #16
    "89000058"  # ldr x9, Py_DecRef
    "20011fd6"  # br x9
)
_RELEASE_CALLS: Final = ("Py_IsInitialized", "PyGILState_Ensure", "Py_DecRef", "PyGILState_Release")
_DESTRUCTOR_CALLS: Final = ("PyCapsule_GetContext", "Py_DecRef")

_PAGE: Final = 4096
_READ: Final = 1
_WRITE: Final = 2
_EXECUTE: Final = 4
_PRIVATE_ANONYMOUS: Final = 0x22  # MAP_PRIVATE | MAP_ANONYMOUS, of Linux
_FAILED: Final = c_void_p(-1).value

_context = python_api("PyCapsule_GetContext", c_void_p, c_void_p)
_give_up = python_api("Py_DecRef", None, c_void_p)


class Releases:
    """The addresses of the functions.

    Attributes:
        array, schema, stream: the release callback of each struct.
        destructor: that of a capsule whose context is a reference to a Python object.
        native: they are machine code.
    """

    def __init__(self, array: int, schema: int, stream: int, destructor: int, *, native: bool) -> None:
        self.array = array
        self.schema = schema
        self.stream = stream
        self.destructor = destructor
        self.native = native


def _address(name: str) -> bytes:
    function = c_void_p.from_buffer(getattr(ctypes.pythonapi, name))
    return int(function.value or 0).to_bytes(8, "little")


def code_for(machine: str, system: str) -> list[bytes] | None:
    """The functions' code, each with the addresses that it calls; None if there is none for this machine."""
    if system != "linux" or sys.byteorder != "little" or ctypes.sizeof(c_void_p) != 8:
        return None
    functions: list[bytes] = []
    for struct in (Array, Schema, Stream):
        release, private = struct.release.offset, struct.private_data.offset
        if machine == "x86_64":
            code = bytearray(_X86)
            code[_X86_PRIVATE], code[_X86_RELEASE] = private, release
        elif machine == "aarch64":
            code = bytearray(_ARM)
            for place, offset in ((_ARM_PRIVATE, private), (_ARM_RELEASE, release)):
                word = int.from_bytes(code[place : place + 4], "little") | (offset // 8) << 10
                code[place : place + 4] = word.to_bytes(4, "little")
        else:
            return None
        functions.append(bytes(code) + b"".join(map(_address, _RELEASE_CALLS)))
    last = _X86_DESTRUCTOR if machine == "x86_64" else _ARM_DESTRUCTOR
    functions.append(last + b"".join(map(_address, _DESTRUCTOR_CALLS)))
    return functions


def executable(functions: list[bytes], library: Any) -> list[int] | None:
    """The addresses of functions in memory that can be executed; None if the system forbids that."""
    map_memory, protect = library.mmap, library.mprotect
    map_memory.argtypes = [c_void_p, c_size_t, c_int, c_int, c_int, c_ssize_t]
    map_memory.restype = c_void_p
    protect.argtypes = [c_void_p, c_size_t, c_int]
    page = map_memory(None, _PAGE, _READ | _WRITE, _PRIVATE_ANONYMOUS, -1, 0)
    if page is None or page == _FAILED:
        return None
    addresses: list[int] = []
    place = page
    for function in functions:
        ctypes.memmove(place, function, len(function))
        addresses.append(place)
        place += len(function)
    return None if protect(page, _PAGE, _READ | _EXECUTE) else addresses


def _released(struct: Any) -> Any:
    def release(address: int) -> None:
        found = struct.from_address(address)
        private = found.private_data
        found.release = None
        _give_up(private)

    return Release(release)


def _destroy(capsule: int) -> None:
    _give_up(_context(capsule))


_CALLBACKS: Final = (*[_released(struct) for struct in (Array, Schema, Stream)], Release(_destroy))


def by_ctypes() -> Releases:
    """The functions as callbacks of ctypes."""
    callbacks = [c_void_p.from_buffer(each).value or 0 for each in _CALLBACKS]
    return Releases(*callbacks, native=False)


def _made() -> Releases:
    code = code_for(platform.machine(), sys.platform)
    found = None if code is None else executable(code, ctypes.CDLL(None))
    return by_ctypes() if found is None else Releases(*found, native=True)


releases: Final = _made()
"""The functions that this machine has."""
