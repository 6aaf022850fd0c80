// The module `url` for a configuration and its plugins: paths and their addresses.
const fileURLToPath = (address) => decodeURIComponent(String(address.href ?? address).replace(/^file:\/\//, ""));
const pathToFileURL = (path) => {
  const href = `file://${path}`;
  return { href, pathname: path, protocol: "file:", toString: () => href };
};
module.exports = { fileURLToPath, pathToFileURL };
