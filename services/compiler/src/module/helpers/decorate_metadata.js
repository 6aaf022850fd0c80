// A decorator that notes a type, if the page has loaded reflect-metadata.
export default function decorateMetadata(key, value) {
  if (typeof Reflect === "object" && typeof Reflect.metadata === "function") return Reflect.metadata(key, value);
}
