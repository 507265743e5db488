"""Reading ZIP archives we do not trust, sans I/O: bytes in, members out. The map of the package:

    parser.py      the archive's tail -> NeedBytes | Directory      endrecord.py   what an end record claims
    directory.py   the members, unpacked on demand                  scan.py        the one pass over all records
    names.py       safe paths      times.py  mtimes                 types.py       file, directory, link, hidden
    links.py       which links may be links                         checks.py      limits, faults of one member
    decoders.py    DECODERS, one row a compression method           inflate.py     a member's bytes, checked
    records.py     the records as they lie in the file              sniff.py       what came instead of a zip
    held.py        the archive's end, as far as it is here          crc.py         CRC-32
    local.py       where a member's data starts                     order.py       sorting that other threads survive

Concurrency: nothing here waits or shares state; values are immutable unless their module says otherwise.
"""

from __future__ import annotations

from mountfs.zipformat.checks import ZipLimits, ensure_readable
from mountfs.zipformat.crc import crc32
from mountfs.zipformat.decoders import DECODERS, Decoder, DecoderRow, method_name
from mountfs.zipformat.directory import Directory
from mountfs.zipformat.inflate import Inflater, inflate_counted, inflate_quick, inflate_whole
from mountfs.zipformat.links import safe_link
from mountfs.zipformat.local import data_start, header_length
from mountfs.zipformat.names import SafeName, printable, safe_path
from mountfs.zipformat.parser import DirectoryParser, NeedBytes
from mountfs.zipformat.records import LOCAL_HEADER_SIZE

__all__ = [
    "DECODERS",
    "LOCAL_HEADER_SIZE",
    "Decoder",
    "DecoderRow",
    "Directory",
    "DirectoryParser",
    "Inflater",
    "NeedBytes",
    "SafeName",
    "ZipLimits",
    "crc32",
    "data_start",
    "ensure_readable",
    "header_length",
    "inflate_counted",
    "inflate_quick",
    "inflate_whole",
    "method_name",
    "printable",
    "safe_link",
    "safe_path",
]
