import { checks } from "../../lib/counts/checks.ts";

/** What columns of a ledger may be of. The last five are types of the ledger's own. */
const columnTypes =
  "text varchar timestamptz timestamp date bigint name state text_of_ours short moment wall_clock".split(" ");
const otherTypes = 'text[] name[] oid interval numeric integer boolean jsonb "char" float8'.split(" ");
const operators = "= <> < > <= >= + - ~ || /".split(" ");
const list = (texts: readonly string[]) => texts.map((text) => `'${text}'`).join(", ");

/**
 * SQL: each operator, for each type of a column and any other; and each function and aggregate that these statements
 * call, for each type in the place of each argument, or without one. All of them raise an error when they run.
 */
export const hostile = (statements: string) => `
  create type state as enum ('failed', ${list([...new Set(checks.map(({ status }) => status))])});
  create domain text_of_ours as text; create domain short as varchar(64);
  create domain moment as timestamptz; create domain wall_clock as timestamp;
  do $do$
  declare
    body constant text := 'language plpgsql as $$ begin raise exception ''ran as %'', current_user; end $$';
    columns constant text[] := array[${list(columnTypes)}];
    types constant text[] := columns || array[${list(otherTypes)}];
    called constant text[] := array[${list([...new Set(statements.match(/\b[a-z_]+(?=\()/g))])}];
    -- All, before the first is made: what is made would fit better here, too.
    statements constant text[] := array(
      select distinct format('create function %1$I(%2$s, %3$s) returns boolean %4$s;
        create operator %1$s (leftarg = %2$s, rightarg = %3$s, function = %1$I)', operator, a, b, body)
      from unnest(columns) as given, unnest(types) as other, lateral (values (given, other), (other, given)) as pair (a, b),
        unnest(array[${list(operators)}]) as operator
    ) || array(
      select case when is_aggregate then format('create function %1$I(%2$s) returns text %3$s;
          create aggregate %4$I(%5$s) (sfunc = %1$I, stype = text, initcond = '''')',
          'add_to_' || name, concat_ws(', ', 'text', given), body, name, coalesce(given, '*'))
        else format('create function %I(%s) returns text %s', name, given, body) end
      from (
        select proname as name, prokind = 'a' as is_aggregate, (
            select string_agg(case when n = place then fits else type::regtype::text end, ', ' order by n)
            from unnest(proargtypes) with ordinality as its (type, n)
          ) as given
        from pg_proc, generate_series(least(pronargs, 1), pronargs) as place, unnest(types::regtype[]::text[]) as fits
        where pronamespace = 'pg_catalog'::regnamespace and proname = any (called) and pronargs <= 3
          and prokind in ('f', 'a') and not exists (
            select from unnest(proargtypes) with ordinality as its (type, n) join pg_type on pg_type.oid = type
            where n <> place and typtype = 'p')
        union select proname, false, repeat('text, ', n) || 'text' from pg_proc, generate_series(1, 3) as n
        where provariadic = '"any"'::regtype and prokind = 'f' and proname = any (called)
      ) as found
    );
    statement text;
  begin
    foreach statement in array statements loop
      execute statement;
    end loop;
  end $do$`;
