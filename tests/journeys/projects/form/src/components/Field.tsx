import { forwardRef, useId, type ComponentPropsWithoutRef } from "react";
import "./field.css";

interface Props extends ComponentPropsWithoutRef<"input"> {
  label: string;
  error?: string;
}

export const Field = forwardRef<HTMLInputElement, Props>(function Field({ label, error, ...input }, ref) {
  const id = useId();
  return (
    <div className="field">
      <label htmlFor={id}>{label}</label>
      <input ref={ref} id={id} aria-invalid={error !== undefined} aria-describedby={`${id}-error`} {...input} />
      <p id={`${id}-error`} role={error ? "alert" : undefined}>
        {error}
      </p>
    </div>
  );
});
