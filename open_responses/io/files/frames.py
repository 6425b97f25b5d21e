"""The frames in which the engine's process and its parent talk: a length (4 bytes, big-endian) and JSON."""

from __future__ import annotations

import struct

LENGTH = struct.Struct(">I")
