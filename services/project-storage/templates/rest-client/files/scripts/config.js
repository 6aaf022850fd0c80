// The address of your API, for example https://api.example.com/v1. If it is empty, the client uses the built-in mock.
export const BASE_URL = "%%apiBaseUrl%%";
export const TIMEOUT_MS = 10_000;
