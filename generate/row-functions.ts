import { executors } from "../commands/declared-rights.ts";
import { told } from "../config/words-of-checks.ts";
import { acceptedIds, acceptedMoment, isAfterMoment } from "../lib/counts/accepted.ts";
import { type Check, checks, isOverdue, rowsOf, stateOf } from "../lib/counts/checks.ts";
import { own } from "../lib/postgres/own-names.ts";

// The functions of roles.sql for people on call: the rows of each check, and what accepts them. They read by the
// sampler's own conditions, so that what they list is what the alerts count.

/** Ends the head of a function that reads the ledger where the sampler does. `:schema` and `:'timezone'` are psql's. */
const reading = `  language sql stable
  set search_path = pg_catalog, :schema, pg_temp set timezone = :'timezone' set row_security = off
  as $body$`;

/** Takes a function's name and types, and all from the word `returns` on. Returns what makes it for people on call. */
const made = (signature: string, types: string, rest: string): string => `\
drop function if exists ledger_metrics.${types};
create function ledger_metrics.${signature}
${rest};
revoke execute on function ledger_metrics.${types} from public;
grant execute on function ledger_metrics.${types} to ${executors.rows.join(", ")};
`;

/** SQL whose lines after the first begin so far from the left, and keep their steps. */
function indented(sql: string, spaces: number): string {
  const [first = "", ...more] = sql.trim().split("\n");
  const least = Math.min(...more.map((line) => line.search(/\S/)));
  return [first, ...more.map((line) => " ".repeat(spaces) + line.slice(least))].join("\n");
}

/** The rows that a check counts: those that fire come first, the oldest of them first. */
function listOf(check: Check): string {
  const { id, time } = check;
  const shows = Object.entries(told[id].shows ?? {});
  const names = shows.map(([name]) => `,\n    ${name}`).join("");
  const columns = shows.map(([name, type]) => `,\n    ${name} ${type}`).join("");
  const body = `\
  with counted as (
    select id::text as id, ${time}::timestamptz as since${shows.map(([name, type]) => `, ${name}::${type}`).join("")},
      ${isOverdue(check)} as is_overdue,
      not ${indented(isAfterMoment(check), 8)} as is_before
    ${indented(rowsOf(check), 4).replaceAll(" and ", "\n      and ")}
  ), ids as materialized (
    ${indented(acceptedIds(check), 4)}
  ), once as (
    select id from counted where id in (select id from ids) group by id having count(*) = 1
  ), moment as (
    ${indented(acceptedMoment(check), 4)}
  )
  select counted.id, since, coalesce(is_overdue and not is_before and ids.id is null, false) as fires,
    greatest(ids.until, moment.until) as accepted_until, coalesce(ids.why, moment.why) as accepted_because${names}
  from counted
    left join ids on ids.id = counted.id and ids.id in (select id from once)
    left join moment on is_before
  order by fires desc, since nulls first, counted.id`;
  return made(
    `${id}()`,
    `${id}()`,
    `\
  returns table (
    id text, since timestamptz, fires boolean, accepted_until timestamptz, accepted_because text${columns}
  )
${reading}
${own(body)}
$body$`,
  );
}

/** Orphan refunds that the reconciler has given up on, the latest first: no count has them any more. */
function failedOrphanRefunds(): string {
  const orphans = checks.find(({ id }) => id === "orphan_refunds");
  if (!orphans) throw new Error("there is no check orphan_refunds");
  const body = `\
  select id::text, ${orphans.time}::timestamptz, updated_at::timestamptz from ${orphans.table}
  where ${indented(stateOf({ ...orphans, status: "failed" }), 4).replace(" and ", "\n    and ")}
    and updated_at > now() - interval '14 days'
  order by updated_at desc, ${orphans.time}`;
  return made(
    "failed_orphan_refunds()",
    "failed_orphan_refunds()",
    `  returns table (id text, since timestamptz, failed_at timestamptz)
${reading}
${own(body)}
$body$`,
  );
}

const ids = checks.map(({ id }) => `'${id}'`).join(", ");

/** Accepts rows by their ids, and refuses ids that the check does not count. */
const accept = made(
  `accept("check" text, ids text[], why text, until timestamptz)`,
  "accept(text, text[], text, timestamptz)",
  `  returns table (
    accepted_check text, id text, since timestamptz, accepted_until timestamptz, accepted_because text, accepted_by text
  )
  language plpgsql set search_path = pg_catalog, pg_temp
  as $body$
#variable_conflict use_column
declare
  lists constant text := format('select * from ledger_metrics.%I() lists what can be accepted.', coalesce("check", ''));
  unknown text;
  ambiguous text;
  times jsonb;
  refused text;
begin
  if coalesce("check", '') not in (
    ${ids}
  ) then
    raise exception 'Nothing is accepted: there is no check %.', coalesce("check", 'null')
      using hint = 'select * from ledger_metrics.stuck_orders() lists what can be accepted of one. The others are: '
        || '${checks
          .map((check) => check.id)
          .slice(1)
          .join(", ")}.';
  elsif coalesce(cardinality(ids), 0) = 0 or array_position(ids, null) is not null then
    raise exception 'Nothing is accepted: the list of ids is empty, or one of them is null.' using hint = lists;
  elsif coalesce(why !~ '[^[:space:]]', true) then
    raise exception 'Nothing is accepted: the reason is empty. Say why, for whoever reads it later.' using hint = lists;
  elsif until is null then
    raise exception 'Nothing is accepted: until is empty. Say until when.' using hint = lists;
  elsif current_setting('transaction_read_only')::boolean then
    raise exception 'Nothing is accepted: this transaction may only read.'
      using hint = 'begin read write; select * from ledger_metrics.accept(...); commit;';
  end if;
  -- An acceptance that is taken back may be of a row that no longer counts.
  execute format(
    'select string_agg(given.id, '', '') filter (where case when $2 <= now() then not exists (
         select from ledger_metrics.accepted as a where a."check" = $3 and a.id = given.id) else rows is null end),
       string_agg(given.id, '', '') filter (where rows > 1), jsonb_object_agg(given.id, since)
     from (select distinct id from unnest($1) as given (id)) as given
     left join (select id, count(*) as rows, min(since) as since from ledger_metrics.%I() as counted group by id)
       as counted on counted.id = given.id',
    "check"
  ) into unknown, ambiguous, times using ids, until, "check";
  if unknown is not null and until <= now() then
    raise exception 'Nothing is taken back: no acceptance of % has the id %.', "check", unknown using hint = lists;
  elsif unknown is not null then
    raise exception 'Nothing is accepted: % does not count %.', "check", unknown
      using hint = 'Such an id is mistyped, is of another check, or was repaired meanwhile. ' || lists;
  elsif ambiguous is not null then
    raise exception 'Nothing is accepted: several rows of % have the id %.', "check", ambiguous using hint = lists;
  end if;
  return query
    insert into ledger_metrics.accepted as written ("check", id, until, why)
    select distinct accept."check", given.id, accept.until, accept.why from unnest(ids) as given (id)
    returning written."check", written.id, (times ->> written.id)::timestamptz, written.until, written.why,
      written.accepted_by;
exception when check_violation then
  get stacked diagnostics refused = constraint_name; -- Each is a message.
  raise exception 'Nothing is accepted: %.', refused using hint = lists;
end
$body$`,
);

/** SQL: the functions for people on call. */
export const rowFunctions = (): string => [...checks.map(listOf), failedOrphanRefunds(), accept].join("");
