"""The interface of libqig as ctypes has it: structures and prototypes of kernels/include/qig.h, and the library that carries them."""

from __future__ import annotations

import ctypes as ct
from functools import cache
from typing import Any

from qig_edge.devices.host import library_path
from qig_edge.errors import RuntimeFault


class CModelInfo(ct.Structure):
    _fields_ = [
        *((n, ct.c_int32) for n in (
            "vocab_size", "d_model", "n_layers", "n_heads", "n_kv_heads", "head_dim", "hidden_dim", "basin_dim", "head_rank",
            "context_length", "draft_lag")),
        *((n, ct.c_uint64) for n in ("n_params", "file_bytes", "weight_bytes")),
        *((n, ct.c_char_p) for n in ("architecture", "name", "isa", "file_type")),
    ]  # fmt: skip


class CTensorInfo(ct.Structure):
    _fields_ = [
        ("name", ct.c_char_p), ("type", ct.c_char_p), ("n_dims", ct.c_int32), ("ne", ct.c_int64 * 4), ("offset", ct.c_uint64), ("bytes", ct.c_uint64),
    ]  # fmt: skip


class CSessionParams(ct.Structure):
    _fields_ = [(n, ct.c_int32) for n in ("n_ctx", "n_threads", "n_threads_batch", "n_batch", "cache_type", "prompt_telemetry", "all_keys")]


class CSamplerParams(ct.Structure):
    _fields_ = [
        ("temperature", ct.c_float), ("top_k", ct.c_int32), ("top_p", ct.c_float), ("min_p", ct.c_float), ("repeat_penalty", ct.c_float),
        ("repeat_last_n", ct.c_int32), ("seed", ct.c_uint64),
    ]  # fmt: skip


class CTelemetry(ct.Structure):
    _fields_ = [
        *((n, ct.c_float) for n in ("phi", "surprise", "confidence", "agency", "curvature", "kappa")),
        ("coherence_drift", ct.c_float), ("regime", ct.c_int32), ("blocks_run", ct.c_int32), ("bytes_read", ct.c_uint64),
    ]  # fmt: skip


class CCacheReads(ct.Structure):
    _fields_ = [(n, ct.c_uint64) for n in ("keys_seen", "keys_sketched", "sketch_bytes", "keys_read", "values_read")]


class CSpeculationStats(ct.Structure):
    _fields_ = [
        *((n, ct.c_uint64) for n in ("rounds", "tokens", "drafted", "tested", "accepted")),
        *((n, ct.c_double) for n in ("draft_seconds", "verify_seconds")),
        ("active", ct.c_int32), ("draft_len", ct.c_int32),
    ]  # fmt: skip


_P, _I32, _I64, _STR, _SIZE = ct.c_void_p, ct.c_int32, ct.c_int64, ct.c_char_p, ct.c_size_t
_IDS = ct.POINTER(ct.c_int32)
_ERR = (_STR, _SIZE)

# name: (result, arguments), in the order of qig.h. Byte buffers come back as void* with a length: c_char_p would stop at a NUL byte.
PROTOTYPES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "qig_version": (_STR, ()),
    "qig_model_open": (ct.c_int, (_STR, _STR, ct.POINTER(_P), *_ERR)),
    "qig_model_close": (None, (_P,)),
    "qig_model_set": (ct.c_int, (_P, _STR, _STR, *_ERR)),
    "qig_model_setting": (_STR, (_P, _I32, ct.POINTER(ct.POINTER(ct.c_float)), _IDS)),
    "qig_model_get_info": (None, (_P, ct.POINTER(CModelInfo))),
    "qig_model_tensor_count": (_I64, (_P,)),
    "qig_model_tensor": (ct.c_int, (_P, _I64, ct.POINTER(CTensorInfo))),
    "qig_model_meta_str": (_P, (_P, _STR, ct.POINTER(_SIZE))),
    "qig_isa_list": (_STR, ()),
    "qig_tokenize": (_I64, (_P, _STR, _SIZE, ct.c_int, _IDS, _SIZE)),
    "qig_token_bytes": (_P, (_P, _I32, ct.c_int, ct.POINTER(_SIZE))),
    "qig_utf8_whole": (_SIZE, (_STR, _SIZE)),
    "qig_space_prefix": (ct.c_int, (_P,)),
    "qig_token_bos": (_I32, (_P,)),
    "qig_token_eos": (_I32, (_P,)),
    "qig_token_eot": (_I32, (_P,)),
    "qig_chat_turn": (_I64, (_P, _STR, _STR, _SIZE, ct.c_int, _IDS, _SIZE)),
    "qig_chat_end": (_I64, (_P, _IDS, _SIZE)),
    "qig_session_new": (ct.c_int, (_P, ct.POINTER(CSessionParams), ct.POINTER(_P), *_ERR)),
    "qig_session_free": (None, (_P,)),
    "qig_session_pos": (_I32, (_P,)),
    "qig_session_n_ctx": (_I32, (_P,)),
    "qig_session_n_threads": (_I32, (_P,)),
    "qig_session_n_threads_batch": (_I32, (_P,)),
    "qig_session_cache_bytes": (ct.c_uint64, (_P,)),
    "qig_session_tokens": (_IDS, (_P,)),
    "qig_session_eval": (ct.c_int, (_P, _P, _I32, _P, *_ERR)),
    "qig_session_logits": (_P, (_P,)),
    "qig_session_telemetry": (ct.c_int, (_P, _I32, ct.POINTER(CTelemetry))),
    "qig_session_cache_reads": (ct.c_int, (_P, _I32, ct.POINTER(CCacheReads))),
    "qig_session_rollback": (ct.c_int, (_P, _I32, *_ERR)),
    "qig_session_slide": (ct.c_int, (_P, _I32, _I32, *_ERR)),
    "qig_session_set_sampler": (ct.c_int, (_P, ct.POINTER(CSamplerParams), *_ERR)),
    "qig_session_sample": (ct.c_int, (_P, _IDS, *_ERR)),
    "qig_session_save": (ct.c_int, (_P, _STR, _STR, _SIZE, *_ERR)),
    "qig_session_load": (ct.c_int, (_P, _STR, *_ERR)),
    "qig_session_note": (_P, (_P, ct.POINTER(_SIZE))),
    "qig_session_set_speculation": (ct.c_int, (_P, _I32, *_ERR)),
    "qig_session_next": (ct.c_int, (_P, _IDS, _I32, _IDS, *_ERR)),
    "qig_session_speculation": (None, (_P, ct.POINTER(CSpeculationStats))),
    "qig_read_bandwidth": (ct.c_double, (ct.c_uint64, _I32, _I32)),
}


@cache
def library() -> ct.CDLL:
    """libqig with all prototypes set: from the package's lib/ folder (wheel), else build/host/ of a source checkout.

    Raises RuntimeFault naming what to run where it is missing, does not load, or is older than this package; DeviceError on a 32-bit system.
    """
    path = library_path()
    try:
        lib = ct.CDLL(str(path))
    except OSError as e:
        raise RuntimeFault(
            f"{path} does not load ({e}): it was built for another system; build or install qig-edge again on this one"
        ) from None
    for name, (result, arguments) in PROTOTYPES.items():
        try:
            function = getattr(lib, name)
        except AttributeError:
            raise RuntimeFault(
                f"{path} has no {name}: it is older than this package; build or install qig-edge again"
            ) from None
        function.restype, function.argtypes = result, list(arguments)
    return lib
