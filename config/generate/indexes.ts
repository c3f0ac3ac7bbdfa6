import { checks, stateOf } from "../../lib/checks.ts";
import { schemasOn } from "../search.ts";

// The indexes of the checks, and their rollback.

const given = checks.map(({ columns = [], ...check }) => {
  const names = ["status", ...columns, check.time].join(", ");
  return `  ('veza_ledger_${check.id}', '${check.table}', '${check.time}', $$${stateOf(check)}$$,
    '{${names}}'::name[], '${check.status}')`;
});
/** SQL: the text of the sampler's search_path, or of this session's. */
const samplersPath = `coalesce((
    select substr(entry, length('search_path=') + 1)
    from pg_db_role_setting join pg_roles on pg_roles.oid = setrole, unnest(setconfig) as entry
    where rolname = 'veza_ledger_sampler' and entry like 'search_path=%'
      and setdatabase in (0, (select oid from pg_database where datname = current_database()))
    order by setdatabase desc limit 1), current_setting('search_path'))`;
const named = `relkind in ('i', 'I') and not relispartition and relname ~ '^veza_ledger_'`;

/** config/postgres/indexes.sql */
export const indexes = `\
-- Written by \`npm run generate\` from lib/checks.ts: one partial index for each check, over the rows in its state. A
-- check then reads these rows and no others, however large the table is. Optional, safe to run again. As the owner:
--   psql "$DATABASE_URL" -f config/postgres/indexes.sql
-- The query writes the statements, and psql's \\gexec runs them, in the tables behind the sampler's search_path. It
-- sets nothing for the session, which may be a pooler's. On a partitioned table, each partition gets its index, and a
-- partition of tomorrow inherits it. CONCURRENTLY blocks no writes, and fails in a transaction. After an interruption,
-- drop the invalid index and run this file again. A table whose columns have other names, behind a view, is left out
-- with a warning: the doctor prints its indexes. Indexes of checks that are no more are dropped.

\\set ON_ERROR_STOP on

with given (name, relation, expression, state, names, status) as (values
${given.join(",\n")}
),
-- As the sampler finds tables: by its role's setting, or else as this session does. Behind a view that the roles read,
-- the table of the same name has the index.
places as materialized (
  select given.*, (
    select pg_class.oid from ${schemasOn(samplersPath, "session_user").replaceAll("\n", "\n  ")} as path
      join pg_class on relnamespace = path.oid
    where relname = relation and relkind in ('r', 'p', 'm') order by position limit 1) as root
  from given
),
fitting as (
  select *, cardinality(names) = (select count(*) from pg_attribute join pg_type on pg_type.oid = atttypid
    where attrelid = root and attname = any (names) and not attisdropped and attgenerated <> 'v'
      and (typcategory in ('S', 'D') or typcategory = 'E'
        and status in (select enumlabel from pg_enum where enumtypid = atttypid))) as fits
  from places
),
found as (select * from fitting where fits),
-- A table by itself, or a partitioned table with all that is below it.
parts as (
  select found.*, root as relid, null::oid as parent, 0 as level, true as is_leaf
  from found join pg_class on oid = root where relkind <> 'p' and not relispartition
  union all
  select found.*, relid, parentrelid, level, isleaf from found, pg_partition_tree(root)
),
named as (
  select parts.*, case level when 0 then name else name || '_' || relid::oid end as index,
    case level when 1 then name else name || '_' || parent::oid end as parent_index, nspname,
    format('%I.%I', nspname, relname) as table
  from parts join pg_class on pg_class.oid = relid join pg_namespace on pg_namespace.oid = relnamespace
),
missing as (
  select named.* from named where not exists (
    select from pg_inherits join pg_index on indexrelid = inhrelid join pg_class on pg_class.oid = inhparent
    where indrelid = relid and relname = parent_index)
)
select statement from (
  select format('create index if not exists %I on only %s (%s) where %s', index, "table", expression, state),
    1, level
  from missing where not is_leaf
  union all
  select format('create index concurrently if not exists %I on %s (%s) where %s', index, "table", expression, state),
    2, level
  from missing where is_leaf
  union all
  select format('alter index %I.%I attach partition %I.%I', above.nspname, parent_index, missing.nspname, index),
    3, -level
  from missing join (select relid as oid, nspname from (select distinct relid, nspname from named) as each) as above
    on above.oid = parent
  union all
  select format('drop index %s%I.%I', case relkind when 'i' then 'concurrently ' end, nspname, relname), 4, 0
  from pg_class join pg_namespace on pg_namespace.oid = relnamespace
  where ${named}
    and regexp_replace(relname, '_\\d+$', '') not in (select name from given)
  union all
  select format('do $do$ begin raise warning %L, %L, %L; end $do$',
    'no index % on %: no such table, or a column of another '
    || 'name or type, or virtual. npm run doctor -- sampler prints it', name, relation), 5, 0
  from fitting where not fits
) as work (statement, step, position)
order by step, position \\gexec
`;

/** config/postgres/indexes.rollback.sql */
export const rollback = `\
-- Written by \`npm run generate\`. Takes indexes.sql back, without blocking writes, except on a partitioned table. The
-- checks work, and read more.

\\set ON_ERROR_STOP on

select format('drop index %s%I.%I', case relkind when 'i' then 'concurrently ' end, nspname, relname)
from pg_class join pg_namespace on pg_namespace.oid = relnamespace
where ${named} \\gexec
`;
