//! Packages that build, check or test a project, and that no page imports when they are in `devDependencies`.

const NAMES: [&str; 39] = [
    "@preact/preset-vite",
    "@sveltejs/vite-plugin-svelte",
    "@tailwindcss/cli",
    "@tailwindcss/postcss",
    "@tailwindcss/vite",
    "autoprefixer",
    "concurrently",
    "cross-env",
    "cypress",
    "esbuild",
    "eslint",
    "globals",
    "happy-dom",
    "husky",
    "jest",
    "jsdom",
    "less",
    "lint-staged",
    "lovable-tagger",
    "nodemon",
    "npm-run-all",
    "oxlint",
    "playwright",
    "postcss",
    "prettier",
    "rimraf",
    "rollup",
    "sass",
    "sass-embedded",
    "stylelint",
    "svelte-check",
    "ts-node",
    "tsx",
    "typescript",
    "typescript-eslint",
    "vite",
    "vitest",
    "vue-tsc",
    "webpack",
];
const PREFIXES: [&str; 12] = [
    "@babel/",
    "@eslint/",
    "@playwright/",
    "@rollup/",
    "@storybook/",
    "@testing-library/",
    "@tsconfig/",
    "@types/",
    "@typescript-eslint/",
    "@vitejs/",
    "eslint-",
    "vite-plugin-",
];

pub(super) fn is_build_tool(package: &str) -> bool {
    NAMES.binary_search(&package).is_ok() || PREFIXES.iter().any(|prefix| package.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compilers_that_run_for_a_preview_are_no_build_tools() {
        assert!(NAMES.is_sorted());
        for tool in ["vite", "typescript", "@types/react", "@vitejs/plugin-react", "eslint-plugin-react", "webpack"] {
            assert!(is_build_tool(tool), "{tool}");
        }
        for package in ["react", "svelte", "vue", "tailwindcss", "@tailwindcss/typography", "tw-animate-css", "@typescript/vfs"] {
            assert!(!is_build_tool(package), "{package}");
        }
    }
}
