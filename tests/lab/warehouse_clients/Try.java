import java.sql.*;
import java.util.Properties;

public class Try {
    public static void main(String[] given) throws Exception {
        Class.forName("com.clickhouse.jdbc.Driver");
        Properties login = new Properties();
        login.setProperty("user", given[1]);
        login.setProperty("password", given[2]);
        try (Connection connection = DriverManager.getConnection("jdbc:clickhouse:" + given[0], login);
             Statement statement = connection.createStatement()) {
            ResultSet rows = statement.executeQuery("SELECT toUInt64(7) AS a, 'é' AS b, number FROM numbers(2)");
            while (rows.next()) System.out.println(rows.getLong(1) + " " + rows.getString(2) + " " + rows.getLong(3));
            ResultSet tables = connection.getMetaData().getTables(null, "system", "one", null);
            while (tables.next()) System.out.println(tables.getString("TABLE_NAME"));
            statement.execute("CREATE TABLE IF NOT EXISTS jdbc_scratch (a UInt64, b String) ENGINE = Memory");
            try (PreparedStatement insert = connection.prepareStatement("INSERT INTO jdbc_scratch (a, b) VALUES (?, ?)")) {
                insert.setLong(1, 7); insert.setString(2, "it's"); insert.addBatch(); insert.executeBatch();
            }
            rows = statement.executeQuery("SELECT b FROM jdbc_scratch");
            rows.next(); System.out.println(rows.getString(1));
            statement.execute("DROP TABLE jdbc_scratch");
        }
    }
}
