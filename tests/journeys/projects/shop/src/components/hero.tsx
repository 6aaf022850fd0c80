import lantern from "@/assets/lantern.svg";
import styles from "./hero.module.css";

export function Hero() {
  return (
    <section className={styles.hero}>
      <img src={lantern} alt="A lantern" width={96} height={96} />
      <div>
        <h1 className={styles.title}>Light for every evening</h1>
        <p>Lanterns and lamps, sent within two days.</p>
      </div>
    </section>
  );
}
