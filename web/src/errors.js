/** A problem that the page shows: what is wrong, and what the reader or the data node can do. */
export class PageError extends Error {}
