/** What a small model knows, and which of it a prompt names. Browser-safe: the server and the page share it. */

export interface Vocabulary {
  /** What the model paints, to be read after "paints". */
  readonly summary: string;
  /** Words and phrases, in lower case, that name something it can paint. */
  readonly subjects: readonly string[];
  /** Words that say how: colours, sides. Alone they name nothing. */
  readonly modifiers: readonly string[];
}

export interface Understood {
  /** Known words and phrases in the order of the prompt, each once, the longest that fit. */
  readonly words: readonly string[];
  /** Whether one of them names something. */
  readonly hasSubject: boolean;
}

export function understand(prompt: string, { subjects, modifiers }: Vocabulary): Understood {
  const known = [...subjects, ...modifiers].map((phrase) => phrase.split(" "));
  const longestFirst = known.sort((a, b) => b.length - a.length);
  const given = prompt.toLowerCase().match(/[\p{Letter}\p{Mark}\p{Number}]+/gu) ?? [];
  const words = new Set<string>();
  for (let at = 0; at < given.length;) {
    const phrase = longestFirst.find((candidate) => candidate.every((word, index) => given[at + index] === word));
    if (phrase !== undefined) words.add(phrase.join(" "));
    at += phrase?.length ?? 1;
  }
  return { words: [...words], hasSubject: subjects.some((subject) => words.has(subject)) };
}

/** What the result of such a prompt should say; undefined when the prompt names something that the model knows. */
export function unknownPromptWarning(prompt: string, vocabulary: Vocabulary): string | undefined {
  if (understand(prompt, vocabulary).hasSubject) return undefined;
  return (
    `this small model paints ${vocabulary.summary}; the prompt names nothing it knows. ` +
    "On a machine with a GPU, Latentcast runs the full SDXL"
  );
}
