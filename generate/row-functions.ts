import { executors } from "../commands/declared-rights.ts";
import { told } from "../config/words-of-checks.ts";
import { endsWithChange, isOfFirstDay, isUnchangedSince } from "../lib/counts/accepted.ts";
import { type Check, checks, isOverdue, rowsOf, stateOf } from "../lib/counts/checks.ts";

// The functions of rows.sql for people on call: the rows of each check, and what accepts them. They read by the
// sampler's own conditions, so that what they list is what the alerts count.

/** A function of ledger_metrics: its name with the types of its arguments, and the SQL that makes it. */
interface RowFunction {
  name: string;
  made: string;
}

/** `TIMEZONE` is replaced when rows.sql runs, as `ledger.` is. */
const reading = `  language sql stable
  set search_path = pg_catalog, pg_temp set timezone = TIMEZONE set row_security = off
  as $body$`;

/** Takes a function's head, all from the word `returns` on, and its name with its types. */
const functionFor = (head: string, rest: string, name = head): RowFunction => ({
  name,
  made: `\
drop function if exists ledger_metrics.${name};
create function ledger_metrics.${head}
${rest};
`,
});

/** SQL whose lines after the first begin so far from the left, and keep their steps. */
const indented = (sql: string, spaces: number) => sql.replaceAll("\n", `\n${" ".repeat(spaces)}`);

/** The rows that a check counts: those that fire come first, the oldest of them first. */
function listOf(check: Check): RowFunction {
  const { id, time } = check;
  const shows = Object.entries(told[id].shows ?? {});
  const each = (line: (name: string, type: string) => string) => shows.map((shown) => `,\n${line(...shown)}`).join("");
  const returned = each((name, type) => `    ${name} ${type}`);
  const selected = each((name) => `    ${name}`);
  const read = each((name, type) => `      ${name}::${type}`);
  const isUnchanged = endsWithChange(check) ? `\n      and ${isUnchangedSince("accepted_at", "since")}` : "";
  const isOld = isOfFirstDay(check).replace(" from ", "\n        from ");
  return functionFor(
    `${id}()`,
    `\
  returns table (
    id text, since timestamptz, fires boolean, accepted_until timestamptz, accepted_because text${returned}
  )
${reading}
  select counted.id, since, is_overdue and not is_of_first_day and accepted.id is null,
    greatest(accepted.until, first_day.until),
    coalesce(accepted.why, case when is_of_first_day then 'was stuck on the first day' end)${selected}
  from (
    select id::text as id, ${time}::timestamptz as since,
      coalesce(${isOverdue(check)}, false) as is_overdue,
      coalesce(${isOld}, false) as is_of_first_day${read}
    ${indented(rowsOf(check), 4).replaceAll(" and ", "\n      and ")}
  ) as counted
    left join ledger_metrics.first_day on is_of_first_day
    left join ledger_metrics.accepted_now as accepted on "check" = '${id}' and accepted.id = counted.id${isUnchanged}
  order by 3 desc, since nulls first, counted.id
$body$`,
  );
}

/** Orphan refunds that the reconciler has given up on, the latest first: no count has them any more. */
function failedOrphanRefunds(): RowFunction {
  const orphans = checks.find(({ id }) => id === "orphan_refunds");
  if (!orphans) throw new Error("there is no check orphan_refunds");
  return functionFor(
    "failed_orphan_refunds()",
    `\
  returns table (id text, since timestamptz, failed_at timestamptz)
${reading}
  select id::text, ${orphans.time}::timestamptz, updated_at::timestamptz from ledger.${orphans.table}
  where ${stateOf({ ...orphans, status: "failed" }).replace(" and ", "\n    and ")}
    and updated_at > now() - interval '14 days'
  order by updated_at desc, ${orphans.time}
$body$`,
  );
}

const ids = checks.map(({ id }) => `'${id}'`).join(", ");

/** Accepts rows by their ids, and refuses ids that the check does not count. To take one back, `until` is now(). */
const accept = functionFor(
  `accept("check" text, ids text[], why text, until timestamptz)`,
  `\
  returns table (accepted_id text, accepted_until timestamptz, accepted_because text, accepted_by text)
  language plpgsql set search_path = pg_catalog, pg_temp
  as $body$
#variable_conflict use_column
declare
  accepts constant boolean := until > now();
  refused text;
begin
  if coalesce("check", '') not in (
    ${ids}
  ) then
    raise exception 'Nothing is accepted: there is no check %.', coalesce("check", 'null')
      using hint = $$There are: ${ids.replaceAll("'", "")}.$$;
  elsif coalesce(cardinality(ids), 0) = 0 then
    raise exception 'Nothing is accepted: the list of ids is empty.';
  end if;
  -- An id that two rows have, as in a view of two tables, does not say which of them is meant.
  execute format('select string_agg(coalesce(given.id, ''null''), '', '') from unnest($1) as given (id)
    left join (select id, count(*) as rows from %s group by id) as known on known.id = given.id
    where rows is distinct from 1',
    case when accepts then format('ledger_metrics.%I()', "check")
      else format('ledger_metrics.accepted_now where "check" = %L', "check") end) into refused using ids;
  if refused is not null then
    raise exception 'Nothing is accepted: % has no row, or several, with the id %.',
      case when accepts then "check" else 'what is accepted' end, refused
      using hint = format('select * from ledger_metrics.%I() lists its rows.', "check");
  end if;
  return query
    insert into ledger_metrics.accepted as written ("check", id, until, why)
    select distinct accept."check", given.id, accept.until, accept.why from unnest(ids) as given (id)
    returning written.id, written.until, written.why, written.accepted_by;
end
$body$`,
  "accept(text, text[], text, timestamptz)",
);

export const rowFunctions: readonly RowFunction[] = [...checks.map(listOf), failedOrphanRefunds(), accept];
const names = rowFunctions.map(({ name }) => `ledger_metrics.${name}`).join(",\n  ");

/** SQL: makes the functions, for people on call alone. */
export const madeForPeopleOnCall = `${rowFunctions.map(({ made }) => made).join("\n")}
revoke execute on function
  ${names} from public;
grant execute on function
  ${names} to ${executors.rows.join(", ")};
`;
