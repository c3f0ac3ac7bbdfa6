/**
 * Replaces what a text has between two marks, the line with `generated: <name>` and the line with `end of <name>`, by
 * these lines. They are indented as the first mark is. Throws when there are no such marks.
 */
export function between(text: string, name: string, lines: string): string {
  const marks = new RegExp(`(^( *).*\\bgenerated: ${name}\\b.*\\n)[\\s\\S]*?(^.*\\bend of ${name}\\b)`, "m");
  if (!marks.test(text)) throw new Error(`there are no marks "generated: ${name}" and "end of ${name}"`);
  return text.replace(marks, (_, begin: string, indent: string, end: string) => {
    const body = lines.trimEnd().replaceAll(/^(?=.)/gm, indent);
    return `${begin}${body}\n${end}`;
  });
}

/** The lines of a text between the line `# begin of <name>` and the line `# end of <name>`. Throws without them. */
export function partOf(text: string, name: string): string {
  const [, part] = new RegExp(`^# begin of ${name}\\n([\\s\\S]*?)^# end of ${name}$`, "m").exec(text) ?? [];
  if (part === undefined) throw new Error(`there are no lines "# begin of ${name}" and "# end of ${name}"`);
  return part;
}
