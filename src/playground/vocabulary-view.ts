/** What a small model knows: which of its words the prompt names, and all of them to read. */
import { understand, type Vocabulary } from "../schema/vocabulary.ts";
import { element, find } from "./dom.ts";

export class VocabularyView {
  readonly #understood = find("understood", HTMLElement);
  readonly #details = find("words", HTMLElement);
  #vocabulary: Vocabulary | undefined;

  setVocabulary(vocabulary: Vocabulary | undefined): void {
    this.#vocabulary = vocabulary;
    this.#details.hidden = vocabulary === undefined;
    find("words-summary", HTMLElement).textContent = vocabulary === undefined ? "" : `It paints ${vocabulary.summary}.`;
    const words = vocabulary === undefined ? [] : [...vocabulary.subjects, ...vocabulary.modifiers];
    find("words-list", HTMLElement).textContent = words.join(" · ");
  }

  /** Says which words of the prompt count. */
  read(prompt: string): void {
    const words = this.#vocabulary === undefined ? [] : understand(prompt, this.#vocabulary).words;
    this.#understood.replaceChildren(
      ...(words.length === 0 ? [] : [document.createTextNode("Understood: ")]),
      ...words.flatMap((word, index) => [
        document.createTextNode(index === 0 ? "" : ", "),
        element("span", { className: "known", textContent: word }),
      ]),
    );
  }
}
