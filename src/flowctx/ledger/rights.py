"""What keeps a user from writing to a ledger, found without writing anything."""

from __future__ import annotations

from sqlalchemy import bindparam, text
from sqlalchemy.engine import Connection

from flowctx.ledger.file_rights import Lacking
from flowctx.ledger.tables import metadata

#: What a role needs.
_ALL = "SELECT, INSERT, UPDATE, DELETE"
#: One question: the session, and which rights on which tables the role has not. Tables that are not there count not.
_QUESTION = text("""
SELECT current_setting('transaction_read_only') = 'on', pg_is_in_recovery(),
       quote_ident(current_user), quote_ident(current_schema()),
       has_schema_privilege(current_schema(), 'CREATE'),
       ARRAY(SELECT p || ' ' || t FROM unnest(CAST(:tables AS text[])) t CROSS JOIN unnest(CAST(:rights AS text[])) p
             WHERE NOT has_table_privilege(to_regclass(t), p) ORDER BY 1)
""").bindparams(bindparam("tables", sorted(metadata.tables)), bindparam("rights", _ALL.split(", ")))


def lacking_in_postgres(at: Connection, *, has_tables: bool) -> Lacking | None:
    """Return what keeps a connection's role from writing to PostgreSQL.

    Args:
        at: The connection.
        has_tables: The ledger's tables are there.
    """
    read_only, standby, role, schema, creates, missing = at.execute(_QUESTION).one()
    if standby:
        return Lacking(
            "this server is a standby, which takes no writes; name the primary, or both and "
            "target_session_attrs=read-write"
        )
    if read_only:
        return Lacking(
            "its sessions are read-only; take default_transaction_read_only from the URL's options, or from the role: "
            f"ALTER ROLE {role} SET default_transaction_read_only = off"
        )
    if not has_tables:
        return None if creates else _cannot_make(role, schema)
    if not missing:
        return None
    grant = f"GRANT {_ALL} ON {', '.join(sorted({one.split()[1] for one in missing}))} TO {role}"
    kinds = sorted({one.split()[0] for one in missing})
    if kinds == ["DELETE"]:
        return Lacking(f"role {role} may not DELETE, as resume and prune do; {grant}", harmless=True)
    return Lacking(f"role {role} may not {', '.join(kinds)}, as runs do; {grant}")


def _cannot_make(role: str, schema: str | None) -> Lacking:
    if schema is None:
        return Lacking(f"it has no tables, and no schema of role {role}'s search_path is there for them; make one")
    return Lacking(
        f"it has no tables, and role {role} may not make them; GRANT CREATE ON SCHEMA {schema} TO {role}, or let one "
        f"that may type: flowctx ledger upgrade, and GRANT {_ALL} ON ALL TABLES IN SCHEMA {schema} TO {role}"
    )
