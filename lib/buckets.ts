/** Upper bounds of the histogram's buckets, in seconds. */
export const bounds = [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2, Number.POSITIVE_INFINITY];

/** The label `le` of a bucket's upper bound. */
export const labelOf = (bound: number): string => String(bound).replace("Infinity", "+Inf");
