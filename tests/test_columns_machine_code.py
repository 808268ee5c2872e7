"""The release callbacks in machine code, run by an emulator: also that of the processor which is not here."""

from __future__ import annotations

from typing import Any

import pytest
import unicorn as _unicorn
from unicorn import arm64_const as arm
from unicorn import x86_const as x86

from pgproto.columns import release
from pgproto.columns.structs import Array, Schema, Stream

CODE, STACK, DATA, CALLS = 0x100000, 0x200000, 0x300000, 0x400000
END = CODE + 0x8000
OBJECT = 0x1234567890
NAMES = sorted({*release._RELEASE_CALLS, *release._DESTRUCTOR_CALLS})
PLACES = {name: CALLS + 0x100 * number for number, name in enumerate(NAMES)}
STRUCTS: list[Any] = [Array, Schema, Stream]
unicorn: Any = _unicorn  # it has no types


class X86:
    """How x86-64 passes an argument, returns, and what a function must keep (System V ABI)."""

    machine = "x86_64"
    emulator = (unicorn.UC_ARCH_X86, unicorn.UC_MODE_64)
    returns = bytes.fromhex("c3")
    argument, result, stack = x86.UC_X86_REG_RDI, x86.UC_X86_REG_RAX, x86.UC_X86_REG_RSP
    kept = (x86.UC_X86_REG_RBX, x86.UC_X86_REG_RBP, x86.UC_X86_REG_R12, x86.UC_X86_REG_R13)
    lost = (x86.UC_X86_REG_RCX, x86.UC_X86_REG_RDX, x86.UC_X86_REG_RSI, x86.UC_X86_REG_R11)
    called = 8  # a call has put the return address on the aligned stack

    @staticmethod
    def enter(machine: Any, stack: int) -> int:
        machine.mem_write(stack - 8, END.to_bytes(8, "little"))
        return stack - 8


class Arm:
    """The same of AArch64 (AAPCS64)."""

    machine = "aarch64"
    emulator = (unicorn.UC_ARCH_ARM64, unicorn.UC_MODE_ARM)
    returns = bytes.fromhex("c0035fd6")
    argument, result, stack = arm.UC_ARM64_REG_X0, arm.UC_ARM64_REG_X0, arm.UC_ARM64_REG_SP
    kept = (arm.UC_ARM64_REG_X19, arm.UC_ARM64_REG_X20, arm.UC_ARM64_REG_X21, arm.UC_ARM64_REG_FP)
    lost = (arm.UC_ARM64_REG_X1, arm.UC_ARM64_REG_X9, arm.UC_ARM64_REG_X16)
    called = 0

    @staticmethod
    def enter(machine: Any, stack: int) -> int:
        machine.reg_write(arm.UC_ARM64_REG_LR, END)
        return stack


def run(abi: Any, code: bytes, memory: bytes, *, initialized: bool = True) -> tuple[list[Any], bytes]:
    """Call the code with the address of the memory: what it has called, with which argument; the memory."""
    machine = unicorn.Uc(*abi.emulator)
    for place in (CODE, STACK, DATA, CALLS):
        machine.mem_map(place, 0x10000)
    machine.mem_write(CODE, code)
    machine.mem_write(DATA, memory)
    results = {"Py_IsInitialized": int(initialized), "PyGILState_Ensure": 7, "PyCapsule_GetContext": OBJECT}
    calls: list[Any] = []

    def called(machine: Any, address: int, _size: int, _data: object) -> None:
        name = next(name for name, place in PLACES.items() if place == address)
        assert machine.reg_read(abi.stack) % 16 == abi.called
        calls.append((name, machine.reg_read(abi.argument)))
        for register in abi.lost:
            machine.reg_write(register, 0xDEAD)
        machine.reg_write(abi.result, results.get(name, 0xDEAD))

    for place in PLACES.values():
        machine.mem_write(place, abi.returns)
    machine.hook_add(unicorn.UC_HOOK_CODE, called, begin=CALLS, end=CALLS + 0x10000)
    for number, register in enumerate(abi.kept):
        machine.reg_write(register, 0x1000 + number)
    machine.reg_write(abi.argument, DATA)
    stack = STACK + 0x8000
    machine.reg_write(abi.stack, abi.enter(machine, stack))
    machine.emu_start(CODE, END, count=1000)
    assert machine.reg_read(abi.stack) == stack
    assert [machine.reg_read(register) for register in abi.kept] == [0x1000 + n for n in range(len(abi.kept))]
    return calls, bytes(machine.mem_read(DATA, len(memory)))


@pytest.fixture(params=[X86, Arm])
def abi(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(release, "_address", lambda name: PLACES[name].to_bytes(8, "little"))
    return request.param


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("initialized", [True, False])
def test_release(abi: Any, number: int, initialized: bool) -> None:
    functions = release.code_for(abi.machine, "linux")
    assert functions is not None
    struct = STRUCTS[number]
    memory = bytearray(b"\xaa" * 0x100)
    memory[struct.private_data.offset : struct.private_data.offset + 8] = OBJECT.to_bytes(8, "little")
    calls, after = run(abi, functions[number], bytes(memory), initialized=initialized)
    memory[struct.release.offset : struct.release.offset + 8] = bytes(8)
    assert after == memory
    asked = calls.pop(0)
    assert asked[0] == "Py_IsInitialized"
    given_up = [("Py_DecRef", OBJECT), ("PyGILState_Release", 7)]
    if initialized:
        assert calls.pop(0)[0] == "PyGILState_Ensure"
        assert calls == given_up
    else:
        assert calls == []


def test_destructor(abi: Any) -> None:
    functions = release.code_for(abi.machine, "linux")
    assert functions is not None
    calls, _ = run(abi, functions[3], bytes(8))
    assert calls == [("PyCapsule_GetContext", DATA), ("Py_DecRef", OBJECT)]
