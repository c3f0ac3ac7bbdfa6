// Names and texts that others wrote, for people: to paste as SQL or into a shell, and to look at.

/** Control, format and bidi characters, blanks other than a space, and letters that show nothing. */
const unseen = /(?! )[\p{C}\p{Z}\u115f\u1160\u2800\u3164\uffa0]/gu;

/** Words that are a name only in quotes: pg_get_keywords(), catcode R or T, up to PostgreSQL 18. */
const reservedWords = new Set(
  (
    "all analyse analyze and any array as asc asymmetric authorization binary both case cast check collate " +
    "collation column concurrently constraint create cross current_catalog current_date current_role " +
    "current_schema current_time current_timestamp current_user default deferrable desc distinct do else end " +
    "except false fetch for foreign freeze from full grant group having ilike in initially inner intersect " +
    "into is isnull join lateral leading left like limit localtime localtimestamp natural not notnull null " +
    "offset on only or order outer overlaps placing primary references returning right select session_user " +
    "similar some symmetric system_user table tablesample then to trailing true union unique user using " +
    "variadic verbose when where window with"
  ).split(" "),
);

/** A name as an identifier of SQL, in one line. A plain name stays as it is. */
export function sqlName(name: string): string {
  if (/^[a-z_][a-z0-9_]*$/.test(name) && !reservedWords.has(name)) return name;
  const inQuotes = name.replaceAll('"', '""');
  if (!hasUnseen(name)) return `"${inQuotes}"`;
  return `U&"${escaped(inQuotes.replaceAll("\\", "\\\\"), (code) => `\\+${code.padStart(6, "0")}`)}"`;
}

/** A text as a literal of SQL, in one line, whether standard_conforming_strings is on or off. */
export function sqlText(text: string): string {
  const inQuotes = text.replaceAll("'", "''");
  if (!text.includes("\\") && !hasUnseen(text)) return `'${inQuotes}'`;
  return `E'${escaped(inQuotes.replaceAll("\\", "\\\\"), (code) => `\\U${code.padStart(8, "0")}`)}'`;
}

/** A text as one word of a shell's command, in one line. A control character needs bash, zsh or ksh. */
export function shellWord(text: string): string {
  if (/^[\w./:,@+=-]+$/.test(text)) return text;
  if (!hasUnseen(text)) return `'${text.replaceAll("'", "'\\''")}'`;
  const bytes = (character: string) => Buffer.from(character).toString("hex").replaceAll(/../g, "\\x$&");
  return `$'${text.replaceAll(/[\\']/g, bytes).replaceAll(unseen, bytes)}'`;
}

/** A text for one line of a terminal: nothing in it ends the line, moves the cursor or turns the direction. */
export const visibly = (text: string): string => escaped(text, (code) => `\\u{${code}}`);

const hasUnseen = (text: string) => text.search(unseen) >= 0;

/** Replaces each unseen character with what `made` makes of its code, in hexadecimal. */
const escaped = (text: string, made: (code: string) => string) =>
  text.replaceAll(unseen, (character) => made(character.codePointAt(0)?.toString(16) ?? ""));
