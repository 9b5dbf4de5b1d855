/** Somebody whom the directory entitles, as it names him. */
export interface Entitled {
  /** Not yet as the service knows him: a directory does not mind capitals. */
  username: string;
  /** The site where a new user is to be at home; null when the directory does not say. */
  home: string | null;
  /** All that stands in the attribute of keys, usable or not. */
  credentials: readonly string[];
}

/**
 * The customer's directory, which says who has an account. Every adapter promises:
 *
 * - `entitled` gives all whom the directory entitles, page by page, and holds no more than a page of them;
 * - it ends normally only when the answer is known to be whole. Whatever is missing, or may be missing, is thrown, and then
 *   the pages that came before it say nothing: `directory-unreachable`, `directory-refused` or `directory-incomplete`;
 * - it ends within its limits and at the signal, whatever the directory does, and nothing is left open behind it;
 * - it changes nothing in the directory, and tells no name and no key in an error.
 */
export interface Directory {
  /** What errors call it. */
  readonly name: string;
  entitled(signal: AbortSignal): AsyncIterable<readonly Entitled[]>;
}

/** An answer is read within this time and this size, or is none. */
export interface ReadingLimits {
  /** Of the whole answer. */
  wholeMs: number;
  /** Of the connection, and of each question. */
  questionMs: number;
  /** Users; more is another directory than the one that is meant. */
  most: number;
}

export const READING_LIMITS: ReadingLimits = { wholeMs: 120_000, questionMs: 15_000, most: 2_000_000 };
