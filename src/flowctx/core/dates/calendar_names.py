"""Which names a calendar of your own may have: none that another calendar is found by."""

from __future__ import annotations

from typing import Final

from flowctx.core.errors import CalendarError

#: The names and aliases of exchange_calendars 4.13, written down since to import it takes a second.
OF_EXCHANGES: Final = frozenset(
    """
    24/5 24/7 AIXK ARCX ASEX ASX BATS BMF BSE BVB BVMF CBOT CFE CME CMES COMEX FWB HKEX ICE ICEUS IEPA JKT JPX LSE LUXSE
    NASDAQ NYFE NYMEX NYSE OOTC OSE SIX SSE TASE TSX XAMS XASE XASX XBDA XBEL XBKK XBOG XBOM XBRA XBRU XBSE XBUD XBUE
    XCBF XCSE XCYS XDUB XDUS XEEE XETR XEUR XFRA XHAM XHEL XHKG XICE XIDX XIST XJSE XKAR XKLS XKRX XLIM XLIS XLIT XLJU
    XLON XLUX XMAD XMEX XMIL XMOS XNAS XNYS XNZE XOSL XPAR XPHS XPRA XRIS XSAU XSES XSGO XSHG XSTO XSTU XSWX XTAE XTAI
    XTAL XTKS XTSE XTSX XWAR XWBO XZAG us_futures
    """.split()  # noqa: SIM905 - a list of so many names takes a hundred lines
)


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
