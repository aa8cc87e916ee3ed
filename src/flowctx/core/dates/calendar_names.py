"""Names of calendars: the one name of each, and which ones a calendar of your own may have."""

from __future__ import annotations

from typing import Final

from flowctx.core.errors import CalendarError

#: The names that exchange_calendars 4.13 gives calendars, written down since to import it takes a second.
_NAMES: Final = """
    24/5 24/7 AIXK ASEX BVMF CMES IEPA XAMS XASX XBDA XBEL XBKK XBOG XBOM XBRA XBRU XBSE XBUD XBUE XCBF XCSE XCYS
    XDUB XDUS XEEE XETR XEUR XFRA XHAM XHEL XHKG XICE XIDX XIST XJSE XKAR XKLS XKRX XLIM XLIS XLIT XLJU XLON XLUX
    XMAD XMEX XMIL XMOS XNYS XNZE XOSL XPAR XPHS XPRA XRIS XSAU XSES XSGO XSHG XSTO XSTU XSWX XTAE XTAI XTAL XTKS
    XTSE XWAR XWBO XZAG us_futures
"""
#: Its aliases, and the name of the calendar that each is.
_ALIASES: Final = """
    ARCX=XNYS ASX=XASX BATS=XNYS BMF=BVMF BSE=XBOM BVB=XBSE CBOT=CMES CFE=XCBF CME=CMES COMEX=CMES FWB=XFRA
    HKEX=XHKG ICE=IEPA ICEUS=IEPA JKT=XIDX JPX=XTKS LSE=XLON LUXSE=XLUX NASDAQ=XNYS NYFE=IEPA NYMEX=CMES NYSE=XNYS
    OOTC=XNYS OSE=XOSL SIX=XSWX SSE=XSHG TASE=XTAE TSX=XTSE XASE=XNYS XNAS=XNYS XTSX=XTSE
"""
_NAME_OF: Final = dict(pair.split("=") for pair in _ALIASES.split())
#: All names that its calendars are found by.
OF_EXCHANGES: Final = frozenset(_NAMES.split()) | _NAME_OF.keys()


def library_name(name: str) -> str:
    """Return the name that exchange_calendars gives a calendar, where this is an alias of it; else the name as it is.

    Example:
        >>> library_name("NYSE"), library_name("XNYS"), library_name("WEEKDAYS")
        ('XNYS', 'XNYS', 'WEEKDAYS')
    """
    return _NAME_OF.get(name, name)


def check_calendar_name(name: object) -> str:
    """Return a name if a calendar may have it.

    Raises:
        CalendarError: It is no text, or nothing that can be printed in one line.

    Example:
        >>> check_calendar_name("XNYS")
        'XNYS'
    """
    if not isinstance(name, str) or not name.strip() or not name.isprintable():
        raise CalendarError(f"{name!r} cannot name a calendar; use a short printable text such as 'DESK'")
    return name


def check_own_name(name: object) -> str:
    """Return a name if a calendar of your own may have it.

    Raises:
        CalendarError: No calendar may, or another one has it; the message says what to do.

    Example:
        >>> check_own_name("DESK")
        'DESK'
    """
    own = check_calendar_name(name)
    if own in ("EVERY_DAY", "WEEKDAYS"):
        raise CalendarError(f"the calendar {own} is built in; give one of your own another name=")
    if own in OF_EXCHANGES:
        raise CalendarError(
            f"{own} is a calendar of exchange_calendars, and one of your own would be taken for it; give yours another "
            f"name=, or correct that one: get_calendar({own!r}).with_holidays([...]), or the file of FLOWCTX_CALENDARS"
        )
    return own
