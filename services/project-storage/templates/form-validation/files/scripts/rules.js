// One rule for each field. A rule takes the value and returns a sentence, or "" if the value is valid.
export const MAX_NOTES = 300;
export const MAX_SEATS = 6;
const EMAIL = /^[^\s@]+@[^\s@]+\.[^\s@]{2,}$/;

export const rules = {
  name: (value) => (value.trim().length >= 2 ? "" : "Enter your full name."),
  email: (value) => {
    if (!value.trim()) return "Enter your e-mail address.";
    return EMAIL.test(value.trim()) ? "" : "Enter an address like name@example.com.";
  },
  session: (value) => (value ? "" : "Choose a group."),
  seats: (value) => {
    const seats = /^\d+$/.test(value.trim()) ? Number(value) : 0;
    return seats >= 1 && seats <= MAX_SEATS ? "" : `Enter a number from 1 to ${MAX_SEATS}.`;
  },
  notes: (value) => (value.length <= MAX_NOTES ? "" : `Use at most ${MAX_NOTES} characters.`),
  terms: (value) => (value ? "" : "Accept the terms to continue."),
};

// The errors of all fields, in their order: [[field, sentence]].
export function check(values) {
  return Object.entries(rules)
    .map(([field, rule]) => [field, rule(values[field])])
    .filter(([, error]) => error);
}
