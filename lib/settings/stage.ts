/** Whether a text is a stage: a label on the gateway, and a part of a URL there. */
export const isStage = (text: string): boolean => /^[A-Za-z0-9_-]+$/.test(text);

/** What a stage has to be, behind the name of what holds it. */
export const stageRule = "may hold letters, digits, _ and - only";
